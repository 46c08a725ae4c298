"""How much a file may unpack to, and how long that may take: read from its head, before it is decoded."""

MAX_PIXELS = 50_000_000  # a radiograph has 4 to 20 million
# Progressive JPEGs have 10 as libjpeg writes them; each takes as long as a whole image.
MAX_SCANS = 100
JPEG_SCAN = b"\xff\xda"
