"""How a picture came about, in the words of the IPTC, and the XMP packet that says so inside a file.

The packet is XMP (ISO 16684-1) with `DigitalSourceType` and the properties for generated media of the IPTC Photo
Metadata Standard 2025.1; what its values mean: https://cv.iptc.org/newscodes/digitalsourcetype/.
"""

import re
from xml.sax.saxutils import quoteattr

from freehold import __version__
from freehold.types.images import PictureFacts, PictureOperation

_TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
TRAINED = f"{_TERMS}trainedAlgorithmicMedia"
"""Made by a trained model."""
COMPOSITE = f"{_TERMS}compositeWithTrainedAlgorithmicMedia"
"""Something else, part of which was made anew by a trained model."""

_SOURCE_TYPE = re.compile(rb"""DigitalSourceType(?:=["']|>)\s*(http[^"'<\s]{1,200})""")


def source_type(facts: PictureFacts) -> str:
    """The digital source type of a picture: an edit keeps what the model did not touch, a variation nothing."""
    return COMPOSITE if facts.operation is PictureOperation.EDIT and facts.parents else TRAINED


def xmp_packet(facts: PictureFacts) -> bytes:
    """The mark of a picture."""
    properties = {
        "Iptc4xmpExt:DigitalSourceType": source_type(facts),
        "Iptc4xmpExt:AISystemUsed": facts.model,
        "Iptc4xmpExt:AISystemVersionUsed": facts.weights_sha256,
        "xmp:CreatorTool": f"Freehold {__version__}",
    }
    attributes = "\n   ".join(f"{name}={quoteattr(value)}" for name, value in properties.items())
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
        ' <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
        '  <rdf:Description rdf:about=""\n'
        '   xmlns:xmp="http://ns.adobe.com/xap/1.0/"\n'
        '   xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"\n'
        f"   {attributes}/>\n"
        " </rdf:RDF>\n"
        "</x:xmpmeta>\n"
        '<?xpacket end="w"?>'
    ).encode()


def read_source_type(packet: bytes) -> str | None:
    """The digital source type that an XMP packet of anybody's tells; None if it tells none.

    Looks for the property without parsing XML, which in a file of unknown origin is not to be trusted.
    """
    found = _SOURCE_TYPE.search(packet)
    return found[1].decode("ascii", "replace") if found else None
