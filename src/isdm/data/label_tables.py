"""Published classes of well-known datasets: names, numbers in the masks, and colours."""

from typing import NamedTuple

Colour = tuple[int, int, int]

VOC_NAMES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def voc_colour(index: int) -> Colour:
    """Pascal VOC's colour of an index from 0 to 255.

    Bits 0, 1, 2 of the index are the highest bits of red, green and blue; bits 3, 4, 5 the next lower ones, and
    so on.
    """
    red = green = blue = 0
    for place in range(8):
        triple = index >> 3 * place
        shift = 7 - place
        red |= (triple & 1) << shift
        green |= (triple >> 1 & 1) << shift
        blue |= (triple >> 2 & 1) << shift
    return red, green, blue


class CityscapesLabel(NamedTuple):
    """A class that Cityscapes evaluates; its train id is its position in the table."""

    label_id: int
    name: str
    colour: Colour


CITYSCAPES = (
    CityscapesLabel(7, "road", (128, 64, 128)),
    CityscapesLabel(8, "sidewalk", (244, 35, 232)),
    CityscapesLabel(11, "building", (70, 70, 70)),
    CityscapesLabel(12, "wall", (102, 102, 156)),
    CityscapesLabel(13, "fence", (190, 153, 153)),
    CityscapesLabel(17, "pole", (153, 153, 153)),
    CityscapesLabel(19, "traffic light", (250, 170, 30)),
    CityscapesLabel(20, "traffic sign", (220, 220, 0)),
    CityscapesLabel(21, "vegetation", (107, 142, 35)),
    CityscapesLabel(22, "terrain", (152, 251, 152)),
    CityscapesLabel(23, "sky", (70, 130, 180)),
    CityscapesLabel(24, "person", (220, 20, 60)),
    CityscapesLabel(25, "rider", (255, 0, 0)),
    CityscapesLabel(26, "car", (0, 0, 142)),
    CityscapesLabel(27, "truck", (0, 0, 70)),
    CityscapesLabel(28, "bus", (0, 60, 100)),
    CityscapesLabel(31, "train", (0, 80, 100)),
    CityscapesLabel(32, "motorcycle", (0, 0, 230)),
    CityscapesLabel(33, "bicycle", (119, 11, 32)),
)
CITYSCAPES_LABELS = 34
"""Label ids go from 0 to one less; those that are not in the table are not evaluated."""

_ADE20K = """
wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door,
table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field, armchair,
seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest of drawers,
counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool table, pillow,
screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill, bench, countertop,
stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus, towel, light, truck,
tower, chandelier, awning, streetlight, booth, television, airplane, dirt track, apparel, pole, land, bannister,
escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer belt, canopy, washer, plaything,
swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle, oven, ball, food, step, tank,
trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket, sculpture, hood, sconce, vase,
traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board, shower, radiator, glass, clock,
flag
"""
ADE20K_NAMES = tuple(name.strip() for name in _ADE20K.replace("\n", " ").split(","))
"""The first of the published names of mask values 1 to 150; all differ."""
