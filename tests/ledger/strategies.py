"""Records of every shape, for properties."""

from datetime import UTC, datetime

from hypothesis import strategies as st

from ledger.fields import Field
from ledger.local_header import LocalHeader, microseconds
from ledger.record import Evidence, Kind, Once
from vocabulary.imprint import Imprint

hashes = st.binary(min_size=32, max_size=32)
imprints = st.builds(Imprint.sha2_256, hashes)
moments = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    timezones=st.just(UTC),
)
fields = st.lists(
    st.builds(
        Field,
        st.integers(0, 0xFFFF),
        st.binary(min_size=32, max_size=32),
        st.binary(max_size=50),
    ),
    max_size=6,
).map(lambda drawn: tuple(sorted(drawn, key=lambda field: field.tag)))


@st.composite
def evidences(draw: st.DrawFn) -> Evidence:
    count = draw(st.integers(1, (1 << 32) - 1))
    return Evidence(
        draw(st.binary(min_size=1, max_size=80)),
        draw(st.integers(0, count - 1)),
        count,
        tuple(draw(st.lists(hashes, max_size=16))),
        draw(hashes),
        tuple(draw(st.lists(imprints, max_size=3))),
        draw(st.none() | imprints),
    )


headers = st.builds(
    LocalHeader,
    kind=st.sampled_from(Kind),
    recorded_at=moments.map(microseconds),
    record_id=st.binary(min_size=16, max_size=16),
    peer_row_hash=st.none() | hashes,
    fault_code=st.integers(0, (1 << 31) - 1),
    execution=st.integers(0, 255),
    once=st.none() | st.builds(Once, hashes, moments),
    unopened=st.sets(st.integers(0, 0xFFFF), max_size=5).map(
        lambda drawn: tuple(sorted(drawn))
    ),
    evidence=st.none() | evidences(),
)
