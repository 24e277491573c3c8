import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.central_registry.simulator import GoverningAuthority
from trust.configuration_anchor import ConfigurationAnchor
from vocabulary.faults import ConfigurationInvalid


@pytest.fixture
def authority():
    return GoverningAuthority()


def test_an_anchor_comes_back_from_its_file(authority, tmp_path):
    authority.anchor.save(tmp_path / "anchor.json")
    assert ConfigurationAnchor.load(tmp_path / "anchor.json") == authority.anchor


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        '{"instance": "EE", "address": "h:1", "signers": []}',
        '{"instance": "EE", "address": "h:1", "signers": ["AAAA"]}',
        '{"instance": "EE", "address": "h:1", "signers": "AAAA"}',
        '{"instance": "E/E", "address": "h:1", "signers": ["AAAA"]}',
        '{"instance": "EE", "address": "nowhere", "signers": ["SIGNER"]}',
        '{"instance": "EE", "address": "h:1", "signers": [1]}',
    ],
)
def test_refuses_a_file_that_is_no_anchor(authority, tmp_path, content):
    path = tmp_path / "anchor.json"
    authority.anchor.save(path)
    signer = path.read_text().split('"')[-2]
    path.write_text(content.replace("SIGNER", signer))
    with pytest.raises(ConfigurationInvalid, match="no configuration anchor"):
        ConfigurationAnchor.load(path)


def test_refuses_a_missing_anchor(tmp_path):
    with pytest.raises(ConfigurationInvalid, match="copy anchor"):
        ConfigurationAnchor.load(tmp_path / "anchor.json")


def test_refuses_an_anchor_with_a_weak_key(tmp_path):
    key = ec.generate_private_key(ec.SECP224R1()).public_key()
    weak = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    ConfigurationAnchor("EE", "h:1", (weak,)).save(tmp_path / "anchor.json")
    with pytest.raises(ConfigurationInvalid, match="of a kind not taken here"):
        ConfigurationAnchor.load(tmp_path / "anchor.json")
