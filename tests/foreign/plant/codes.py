"""GS1 element strings, as far as this plant prints and reads them."""

FIXED = {"00": 18, "01": 14, "11": 6, "17": 6}
GS = "\x1d"


def elements(text):
    """Application identifiers and their values; empty where the text is no element string."""
    text, found = text.removeprefix("]d2").removeprefix("]C1"), {}
    while text:
        ai = text[:2]
        if ai in FIXED:
            value, text = text[2 : 2 + FIXED[ai]], text[2 + FIXED[ai] :].removeprefix(GS)
        elif ai in ("10", "21"):
            value, _, text = text[2:].partition(GS)
        else:
            return {}
        found[ai] = value
    return found


def with_another_lot(text):
    """The same code with the last character of its lot changed."""
    lot = elements(text).get("10", "")
    other = lot[:-1] + ("X" if lot[-1:] != "X" else "Y")
    return text.replace(f"10{lot}", f"10{other}") if lot else text
