"""The IPTC mark in an XMP packet."""

import xml.etree.ElementTree as ET

import pytest

from freehold.provenance.marks import COMPOSITE, TRAINED, read_source_type, xmp_packet
from freehold.types.images import PictureOperation
from tests.provenance.installation import picture_facts

EXT = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def test_the_packet_is_xml_whatever_the_model_is_called() -> None:
    """The packet is well-formed XML with the IPTC's properties, also where a name has markup in it."""
    packet = xmp_packet(picture_facts(model="""<"a" & 'b'>"""))
    body = packet.partition(b"?>\n")[2].rpartition(b"<?xpacket")[0]
    description = ET.fromstring(body).find(".//{*}Description")  # noqa: S314  # our own
    assert description is not None
    assert description.get(f"{EXT}DigitalSourceType") == TRAINED
    assert description.get(f"{EXT}AISystemUsed") == """<"a" & 'b'>"""
    assert description.get(f"{EXT}AISystemVersionUsed") == "ab" * 32


@pytest.mark.parametrize(
    ("operation", "parents", "expected"),
    [
        (PictureOperation.GENERATION, (), TRAINED),
        (PictureOperation.EDIT, (b"x",), COMPOSITE),
        (PictureOperation.EDIT, (), TRAINED),
        (PictureOperation.VARIATION, (b"x",), TRAINED),
    ],
)
def test_only_an_edit_is_a_composite(operation: PictureOperation, parents: tuple[bytes, ...], expected: str) -> None:
    """What keeps part of another picture is a composite; everything else is the model's alone."""
    packet = xmp_packet(picture_facts(operation=operation, parents=parents))
    assert read_source_type(packet) == expected


@pytest.mark.parametrize(
    ("packet", "expected"),
    [
        (b"<x Iptc4xmpExt:DigitalSourceType='http://a/b'/>", "http://a/b"),
        (b"<Iptc4xmpExt:DigitalSourceType>http://a/b</Iptc4xmpExt:DigitalSourceType>", "http://a/b"),
        (b"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><x>&a;</x>", None),
        (b"DigitalSourceType=" * 100_000, None),
        (b"", None),
    ],
)
def test_anybodys_mark_is_read(packet: bytes, expected: str | None) -> None:
    """The mark is found as an attribute and as an element, without parsing what may be hostile."""
    assert read_source_type(packet) == expected
