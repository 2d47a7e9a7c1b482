"""mmsegmentation's folders for a dataset of one's own, with a configuration that reads them.

img_dir/train/*.png    ann_dir/train/*.png    img_dir/val/…    classes.txt    dataset_config.py
"""

from functools import partial
from pathlib import Path

from isdm.data.dataset import DatasetInfo, Split, palette_image
from isdm.data.exporting.pairs import SHORT_NAMES, Decoded, Export, Item, is_plain, put_image
from isdm.data.image_files import write_png
from isdm.files import write_text

ABOUT = """\
mmsegmentation 1.x: ann_dir/ holds the class ids as palette pictures (255: ignored). classes.txt names the classes
in the order of their ids, dataset_config.py sets up BaseSegDataset for each split: take it into a configuration
by _base_, set data_root there to this folder, and add the pipelines.
"""


def write(export: Export, folder: Path) -> list[str]:
    """Write all splits; gives what the format cannot say, one sentence each."""
    info = export.info
    suffix = _common_suffix(export)
    for split in export.items:
        for _ in export.each(split, partial(_put, info, folder, SHORT_NAMES[split], suffix)):
            pass  # all is written
    write_text(folder / "classes.txt", "".join(f"{entry.name}\n" for entry in info.classes))
    write_text(folder / "dataset_config.py", config_text(info, list(export.items), suffix))
    return ["instance maps were left out: mmsegmentation reads none"] if export.has_instances else []


def _put(info: DatasetInfo, folder: Path, split_name: str, suffix: str, item: Item, decoded: Decoded) -> None:
    put_image(item, decoded.image, info, folder / "img_dir" / split_name, suffix=suffix)
    write_png(folder / "ann_dir" / split_name / f"{item.name}.png", palette_image(decoded.mask, info))


def _common_suffix(export: Export) -> str:
    """The one ending that BaseSegDataset takes for all pictures: their own where they agree, otherwise .png."""
    files = [item.pair.image for items in export.items.values() for item in items]
    suffixes = {file.suffix.lower() for file in files}
    if len(suffixes) == 1 and all(is_plain(file, export.info) for file in files):
        return suffixes.pop()
    return ".png"


def config_text(info: DatasetInfo, splits: list[Split], suffix: str) -> str:
    """A configuration of mmsegmentation 1.x for the exported folders."""
    text = f"""\
# {" ".join(info.name.split())}, for mmsegmentation 1.x. Name this file in _base_ and set data_root to its folder.
dataset_type = "BaseSegDataset"
data_root = "."
metainfo = dict(
    classes={tuple(entry.name for entry in info.classes)!r},
    palette={[list(entry.colour) for entry in info.classes]!r},
)
"""
    for split in splits:
        name = SHORT_NAMES[split]
        text += f'''
{name}_dataloader = dict(
    dataset=dict(
        type=dataset_type,
        data_root=data_root,
        metainfo=metainfo,
        data_prefix=dict(img_path="img_dir/{name}", seg_map_path="ann_dir/{name}"),
        img_suffix="{suffix}",
        seg_map_suffix=".png",
        ignore_index={info.ignore_index},
        reduce_zero_label=False,
    )
)
'''
    return text
