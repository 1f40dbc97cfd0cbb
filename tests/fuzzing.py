"""What the fuzzers share: how many examples they try, odd pieces of text, damage to bytes."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from seq2seq.errors import UserError

ODD = [
    "",
    " ",
    "\t",
    "\r",
    "\0",
    "\ufeff",
    "\u2028",
    "\x85",
    "\x1c",
    "\u202eאב\u202c",
    "שלום",
    "e\u0301\u0323" * 5,
    "a" + "\u0315\u0300" * 150,
    "👩\u200d👩\u200d👧",
    "<eos>",
    "\ud7ff\ue000\U0010ffff",
]
pieces = st.one_of(
    st.sampled_from(ODD).map(str.encode),
    st.text(max_size=9).map(lambda text: text.encode("utf-8", "replace")),
    st.binary(max_size=9),
    # Half a surrogate pair, an overlong form, a character that is cut off.
    st.sampled_from([b"\xed\xa0\x80", b"\xc0\xaf", b"\xe2\x82", b"\xff\xfe", b"\x1f\x8b"]),
)


def share(divisor):
    """The profile's number of examples over `divisor`: for what takes long."""
    return settings(
        max_examples=settings.default.max_examples // divisor,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )


def attempt(call, *starts):
    """Returns the result of a call, or None after a mistake told in one line that begins right."""
    try:
        return call()
    except UserError as error:
        message = str(error)
    assert message.startswith(starts)
    assert message.isprintable()
    return None


@st.composite
def damage(draw, content):
    """`content` with some bytes changed, moved, left out or put in, or cut off."""
    data = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.sampled_from([0, 1, 4, 8, 40]))
        new = draw(st.one_of(
            st.binary(max_size=8),
            st.sampled_from([b"\xff" * 8, b"\0" * 8, bytes(data[at : at + 40]) * 2]),
        ))  # fmt: skip
        data[at : at + length] = new
    return bytes(data[: draw(st.one_of(st.just(len(data)), st.integers(0, len(data))))])
