"""Pictures and figures within a page, so that it is a single file."""

import base64
from io import BytesIO

from PIL import Image


def jpeg_uri(picture: Image.Image) -> str:
    """A small picture for a page; its colours are stored at full resolution, for the contours' sake."""
    content = BytesIO()
    picture.save(content, format="JPEG", quality=90, subsampling=0)
    return data_uri("image/jpeg", content.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Content of a MIME type as an address that needs no other file."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
