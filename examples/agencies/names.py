"""What the made-up persons are called and where they live."""


def words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FEMALE = words(
    """Aino Airi Aita Anna Anne Annika Anu Birgit Eha Elina Ene Epp Eve Evelin Hanna
    Heli Helve Hilja Ilme Inga Ivi Jaana Kadri Kai Kairi Karin Karmen Katrin Keiu
    Kersti Klaara Kristi Laine Lea Leida Liina Liis Linda Luule Maarika Maie Mall
    Mare Maret Mari Marju Marta Merike Merle Milvi Moonika Natalja Õie Olga Pille
    Piret Reet Riina Sirje Svetlana Tiina Tiiu Triin Ülle Urve Vaike Virve"""
)
MALE = words(
    """Aare Ahto Aivar Aleksandr Ando Andres Ants Arvo Eerik Einar Enn Erki Gunnar
    Hannes Harri Heino Indrek Ivan Jaak Jaan Janek Jüri Kaarel Kaido Kalev Kalju
    Karl Kristjan Lauri Lembit Madis Märt Mart Mati Mihhail Mihkel Neeme Oleg Olev
    Ott Paul Peeter Priit Raivo Rasmus Rein Riho Sander Sergei Siim Silver Sulev
    Taavi Tanel Tarmo Tauno Tiit Toivo Toomas Urmas Vahur Väino Viktor Villu"""
)
FAMILY = words(
    """Aas Aavik Allik Anderson Jänes Jõgi Järv Kaasik Kallas Kangur Karu Kask Kivi
    Koort Koppel Kruus Kukk Kuusk Kütt Laane Laas Laur Leht Lepik Lepp Lill Lind
    Luik Luts Maasik Mägi Männik Mets Mölder Mürk Nurm Oja Orav Õunapuu Paju Pärn
    Pihlak Põder Põld Raag Raud Rebane Roos Rätsep Saar Salu Sarapuu Sepp Sild
    Soosaar Tamm Teder Teras Toom Toome Uibo Vaher Vaino Valk Varik Ööbik Ilves
    Ivanov Petrov Smirnov Vassiljev Kuznetsov Randmaa Rand Tali Tomson Treial
    Tõnisson Udras Unt"""
)
# Each as often as its share of the people, roughly.
MUNICIPALITIES = (
    *("Tallinn",) * 33,
    *("Tartu",) * 8,
    *("Narva",) * 4,
    *("Pärnu",) * 4,
    *("Saaremaa", "Kohtla-Järve", "Rae", "Viimsi") * 2,
    *("Viljandi", "Rakvere", "Maardu", "Saku", "Harku", "Võru", "Valga", "Haapsalu"),
    *("Põltsamaa", "Elva", "Paide", "Keila", "Hiiumaa", "Tapa", "Türi", "Otepää"),
    *("Muhu", "Vormsi"),
)
STREETS = words(
    """Aia Allika Heina Jaama Järve Kalda Kesk Kooli Kivi Lai Linda Lossi Mere Metsa
    Mõisa Niidu Nurme Pargi Pikk Põllu Rahu Ranna Rüütli Sadama Tamme Tartu Tehase
    Uus Vabaduse Väike Veski Võidu"""
)
PHYSICIANS = tuple(f"Dr {family}" for family in FAMILY[::4])
CARE_PROVIDERS = (
    "Põhja-Eesti Regionaalhaigla",
    "Tartu Ülikooli Kliinikum",
    "Ida-Tallinna Keskhaigla",
    "Lääne-Tallinna Keskhaigla",
    "Pärnu Haigla",
    "Ida-Viru Keskhaigla",
    "Kuressaare Haigla",
    "Viljandi Haigla",
)
SPECIALITIES = words(
    """cardiology dermatology endocrinology gastroenterology neurology ophthalmology
    orthopaedics otorhinolaryngology psychiatry pulmonology urology"""
)
