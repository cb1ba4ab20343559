"""Label files as other programs write them: COCO, YOLO, Pascal VOC, tables of boxes or points.

Places are in pixels from the upper left corner of the image: the first pixel covers 0 to 1, its middle is at 0.5. Label
files have their own conventions, which the readers and writers take care of: VOC counts pixels from 1 and names the
last one of a box; points, here as everywhere in the project, name a pixel, (0, 0) the first.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from scipy import ndimage
from typing_extensions import NotRequired, TypedDict

from drpca.datasets.io import IMAGE_SUFFIXES, read_regular
from drpca.datasets.splits import LABEL_SUFFIXES, PARTS
from drpca.errors import UserError
from drpca.files import list_files
from drpca.json_file import checked, read_json

CARD = 'dataset.json'
_LARGEST = 2**28
_PART = re.compile(r'(?:^|_)(' + '|'.join(s for names in PARTS.values() for s in names) + r')(?![a-z])')
_IMAGE_COLUMNS = ('image', 'filename', 'file_name', 'file', 'name', 'image_id', 'img')
_BOX_COLUMNS = (('x', 'y', 'width', 'height'), ('x', 'y', 'w', 'h'))
_CORNER_COLUMNS = (('xmin', 'ymin', 'xmax', 'ymax'), ('x1', 'y1', 'x2', 'y2'), ('left', 'top', 'right', 'bottom'))
_POINT_COLUMNS = (('x', 'y'), ('cx', 'cy'))


@dataclass(frozen=True)
class Target:
    """What a label says of one target, in pixels.

    Attributes:
        left, top: Corner of the box; of a point, the middle of its pixel.
        width, height: Of the box; 0 of a point.
        polygons: Outlines, each x, y, x, y, ….
        runs: COCO's run lengths of a mask, column by column, beginning with those outside.
    """

    left: float
    top: float
    width: float = 0.0
    height: float = 0.0
    polygons: tuple[tuple[float, ...], ...] = ()
    runs: tuple[int, ...] = ()


@dataclass(frozen=True)
class Labelled:
    """An image with its targets.

    Attributes:
        image: Its file.
        part: 'train', 'val', 'trainval', 'test', or '' where nothing tells.
        targets: In no order.
        size: (height, width) according to the labels; None: they do not say.
        source: The file of the labels, for messages.
    """

    image: Path
    part: str
    targets: tuple[Target, ...]
    size: tuple[int, int] | None
    source: Path


@dataclass(frozen=True)
class Labels:
    """All labels of a folder.

    Attributes:
        format: 'coco', 'voc', 'table', 'yolo' or 'points'.
        images: Those with labels.
        left_out: Images of which the labels say nothing.
    """

    format: str
    images: list[Labelled]
    left_out: list[Path]


@dataclass(frozen=True)
class Conversion:
    """What label files came to; also the card ``dataset.json`` of the data set.

    Attributes:
        format: 'coco', 'voc', 'table', 'yolo' or 'points'.
        rule: How boxes and points became masks, one of ``RULES``.
        pseudo_labels: Whether any mask was made by that rule, and so is a guess.
        images: Number of images.
        targets: Number of targets.
        outlined: Targets of which the labels gave the outline.
        grown: Targets found in their box by their contrast.
        filled: Targets whose mask is the whole box, or 3 × 3 pixels of a point.
        left_out: Images of which the labels say nothing.
    """

    format: str
    rule: str
    pseudo_labels: bool
    images: int
    targets: int
    outlined: int
    grown: int
    filled: int
    left_out: int


def read_card(folder: Path) -> Conversion | None:
    """What is known of how the masks of a data set were made; None: nothing.

    Raises:
        UserError: The card is damaged.
    """
    return read_json(folder / CARD, Conversion) if (folder / CARD).is_file() else None


class _CocoImage(TypedDict):
    id: int | str
    file_name: str
    width: NotRequired[int]
    height: NotRequired[int]


class _CocoAnnotation(TypedDict):
    image_id: int | str
    bbox: NotRequired[tuple[float, float, float, float] | list[float]]
    segmentation: NotRequired[Any]


class _Coco(TypedDict):
    images: list[_CocoImage]
    annotations: list[_CocoAnnotation]


@dataclass
class _Index:
    """The files below a folder."""

    root: Path
    images: list[Path] = field(default_factory=list)
    labels: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    by_stem: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))

    @classmethod
    def of(cls, root: Path) -> _Index:
        index = cls(root)
        for path in list_files(root, (*IMAGE_SUFFIXES, *LABEL_SUFFIXES), deep=True):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                index.images.append(path)
                index.by_stem[path.stem].append(path)
            elif path.name != CARD:
                index.labels[path.suffix.lower()].append(path)
        return index

    def find(self, name: str, labels: Path) -> Path | None:
        """The image of a label: of the same name, and of several the one of the same part or nearest folder."""
        wanted = Path(name.replace('\\', '/'))
        stem = wanted.stem if wanted.suffix.lower() in IMAGE_SUFFIXES else wanted.name
        found = self.by_stem.get(stem, [])
        if len(found) > 1:
            ends = [p for p in found if p.parts[-len(wanted.parts) :] == wanted.parts]
            found = ends if len(wanted.parts) > 1 and ends else found
            part = self.part(labels)
            found = [p for p in found if self.part(p) == part] or found
            shared = [len(set(p.parts) & set(labels.parts)) for p in found]
            found = [p for p, count in zip(found, shared) if count == max(shared)]
        return found[0] if found else None

    def part(self, path: Path) -> str:
        """'train', 'val', … by the folders of a file, and its own name where it is no image; '' if none tells."""
        names = [part.lower() for part in path.relative_to(self.root).parts]
        if path.suffix.lower() in IMAGE_SUFFIXES or path.suffix.lower() in ('.xml', '.txt'):
            names.pop()
        for name in reversed(names):
            if match := _PART.search(name):
                return next(part for part, spellings in PARTS.items() if match[1] in spellings)
        return ''


def read_labels(root: Path) -> Labels | None:
    """The labels below a folder, in whichever format, and the images that they belong to.

    Returns:
        None where there are none.

    Raises:
        UserError: A label file that is damaged, or names an image that is not there.
    """
    index = _Index.of(root)
    for name, reader in _READERS.items():
        images = reader(index) if index.images else []
        if images:
            known = {labelled.image for labelled in images}
            return Labels(name, images, [path for path in index.images if path not in known])
    return None


def _coco(index: _Index) -> list[Labelled]:
    found: dict[Path, Labelled] = {}
    for path in index.labels['.json']:
        try:
            content = json.loads(_text(path))
        except (ValueError, RecursionError) as error:
            raise UserError(f'Cannot read {path}: expected JSON ({error}); repair or remove it.') from None
        if not isinstance(content, dict) or not {'images', 'annotations'} <= content.keys():
            continue
        coco = checked(content, _Coco, path)
        targets: dict[int | str, list[Target]] = {image['id']: [] for image in coco['images']}
        for number, annotation in enumerate(coco['annotations']):
            where = f'annotation {number} of {path}'
            if annotation['image_id'] not in targets:
                raise UserError(f'Cannot read {where}: no image {annotation["image_id"]!r} in it; repair it.')
            targets[annotation['image_id']].append(_coco_target(annotation, where))
        for image in coco['images']:
            size = (image['height'], image['width']) if 'height' in image and 'width' in image else None
            new = _labelled(index, image['file_name'], path, targets[image['id']], size)
            found[new.image] = _joined(found[new.image], new) if new.image in found else new
    return list(found.values())


def _joined(first: Labelled, second: Labelled) -> Labelled:
    """What two files say of one image: all its targets, in the part that one of them names."""
    if first.part and second.part and first.part != second.part:
        raise UserError(f'{first.image} is in {first.part} and in {second.part}: leave it in one of them.')
    targets = tuple(dict.fromkeys((*first.targets, *second.targets)))
    return replace(first, part=first.part or second.part, targets=targets)


def _coco_target(annotation: _CocoAnnotation, where: str) -> Target:
    polygons: tuple[tuple[float, ...], ...] = ()
    runs: tuple[int, ...] = ()
    outline = annotation.get('segmentation')
    if isinstance(outline, dict):
        counts = outline.get('counts')
        runs = tuple(_runs(counts, where) if isinstance(counts, str) else checked(counts, list[int], where))
    elif isinstance(outline, list) and outline:
        polygons = tuple(map(tuple, checked(outline, list[list[float]], where)))
        if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons):
            raise UserError(f'Cannot read {where}: an outline needs three points, x and y each; repair it.')
    box = annotation.get('bbox')
    if box is None or len(box) != 4:
        if not (polygons or runs):
            raise UserError(f'Cannot read {where}: expected bbox, four numbers, got {box!r}; repair it.')
        box = (0, 0, 1, 1)
    return _box(box, where, polygons=polygons, runs=runs)


def _runs(text: str, where: str) -> list[int]:
    """COCO's compressed run lengths: digits of 5 bits from '0' on, the lowest first, a sixth bit where more follow;
    from the fourth number on, differences from the last but one."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 40:
            raise UserError(f'Cannot read {where}: expected run lengths, got {text[:40]!r}; repair it.')
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (digit & 16) << (shift - 4)
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return runs


def _voc(index: _Index) -> list[Labelled]:
    found = []
    for path in index.labels['.xml']:
        root = _xml(path)
        if root.tag != 'annotation':
            continue
        targets = []
        for number, item in enumerate(root.iter('object')):
            where = f'object {number + 1} of {path}'
            left, top, right, bottom = (
                _number(item.findtext(f'bndbox/{key}'), where, key) for key in ('xmin', 'ymin', 'xmax', 'ymax')
            )
            targets.append(_box((left - 1, top - 1, right - left + 1, bottom - top + 1), where))
        size = None
        if root.find('size/width') is not None:
            height, width = (_number(root.findtext(f'size/{k}'), str(path), k) for k in ('height', 'width'))
            size = (int(height), int(width)) if height > 0 and width > 0 else None
        # The name inside is often that of another machine's file.
        named = root.findtext('filename') or ''
        found.append(_labelled(index, path.stem if path.stem in index.by_stem else named, path, targets, size))
    return found


def _rows(path: Path, lines: list[str], delimiter: str) -> Iterator[list[str]]:
    try:
        yield from csv.reader(lines, delimiter=delimiter)
    except csv.Error as error:
        raise UserError(f'Cannot read {path}: not a readable table ({error}); repair it.') from None


def _table(index: _Index) -> list[Labelled]:
    found: dict[Path, list[Target]] = {}
    sources: dict[Path, Path] = {}
    for path in index.labels['.csv']:
        lines = _text(path).splitlines()
        header = lines[0] if lines else ''
        rows = _rows(path, lines, max(',;\t', key=header.count))
        columns = [name.strip().lower() for name in next(rows, [])]
        key = next((columns.index(name) for name in _IMAGE_COLUMNS if name in columns), None)
        corners = next((names for names in _CORNER_COLUMNS if set(names) <= set(columns)), None)
        boxes = corners or next((names for names in _BOX_COLUMNS if set(names) <= set(columns)), None)
        names = boxes or next((names for names in _POINT_COLUMNS if set(names) <= set(columns)), None)
        if key is None or names is None:
            continue
        for number, row in enumerate(rows, start=2):
            where = f'line {number} of {path}'
            if not any(cell.strip() for cell in row):
                continue
            if len(row) < len(columns):
                raise UserError(f'Cannot read {where}: expected {len(columns)} columns, got {len(row)}; repair it.')
            image = _labelled(index, row[key].strip(), path, [], None).image
            targets, sources[image] = found.setdefault(image, []), path
            cells = [row[columns.index(name)].strip() for name in names]
            if any(cells):
                values = [_number(cell, where, name) for cell, name in zip(cells, names)]
                if corners:
                    values[2:] = values[2] - values[0], values[3] - values[1]
                targets.append(_box(values, where) if boxes else Target(values[0] + 0.5, values[1] + 0.5))
    return [
        Labelled(image, index.part(image) or index.part(sources[image]), tuple(targets), None, sources[image])
        for image, targets in found.items()
    ]


def _columns(path: Path) -> list[list[float]] | None:
    """The numbers of a text file, line by line; None where something else stands in it."""
    try:
        return [
            [float(cell) for cell in re.split(r'[\s,;]+', line.strip())]
            for line in _text(path).splitlines()
            if line.strip()
        ]
    except (ValueError, UserError):
        return None


def _yolo(index: _Index) -> list[Labelled]:
    from drpca.datasets.io import image_shape

    found, parts = [], set()
    for path in index.labels['.txt']:
        image = index.find(path.stem, path)
        rows = _columns(path) if image else None
        if image is None or rows is None or any(len(row) < 5 for row in rows):
            continue
        if not rows and not any('label' in part.lower() for part in path.parts):
            continue
        height, width = image_shape(image)
        targets = []
        for number, (_, *values) in enumerate(rows, start=1):
            where = f'line {number} of {path}'
            if len(values) == 4:
                x, y, w, h = (value * side for value, side in zip(values, (width, height, width, height)))
                targets.append(_box((x - w / 2, y - h / 2, w, h), where))
            elif len(values) % 2 == 0 and len(values) >= 6:
                outline = tuple(value * side for value, side in zip(values, (width, height) * (len(values) // 2)))
                xs, ys = outline[::2], outline[1::2]
                targets.append(
                    _box((min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)), where, polygons=(outline,))
                )
            else:
                raise UserError(
                    f'Cannot read {where}: expected a class and a box (five numbers) or an outline, '
                    f'got {len(values) + 1} numbers; repair it.'
                )
        found.append(Labelled(image, index.part(image) or index.part(path), tuple(targets), None, path))
        parts.add(index.part(image))
    known = {labelled.image for labelled in found}
    if any(labelled.targets for labelled in found):  # an image without a label file is one without targets
        found += [
            Labelled(path, index.part(path), (), None, path)
            for path in index.images
            if path not in known and index.part(path) in parts
        ]
        return found
    return []


def _points(index: _Index) -> list[Labelled]:
    """``x y`` a line: a file for each image, or one whose lines go with the images of the folder beside it."""
    found = []
    for path in index.labels['.txt']:
        rows = _columns(path)
        if rows is None or any(len(row) != 2 for row in rows):
            continue
        image = index.find(path.stem, path)
        if image is not None:
            pairs = [(image, rows)]
        else:
            images = [p for p in index.images if path.parent in (p.parent, p.parent.parent)]
            if len(images) != len(rows) or not rows:
                continue
            pairs = [(one, [row]) for one, row in zip(images, rows)]
        for one, places in pairs:
            targets = tuple(Target(x + 0.5, y + 0.5) for x, y in places)
            found.append(Labelled(one, index.part(one), targets, None, path))
    return found if any(labelled.targets for labelled in found) else []


_READERS: dict[str, Callable[[_Index], list[Labelled]]] = {
    'coco': _coco, 'voc': _voc, 'table': _table, 'yolo': _yolo, 'points': _points,
}  # fmt: skip


def _labelled(
    index: _Index, name: str, path: Path, targets: Sequence[Target], size: tuple[int, int] | None
) -> Labelled:
    image = index.find(name, path)
    if image is None:
        raise UserError(f'{path} names the image {name[:100]!r}, which is not below {index.root}: put it there.')
    return Labelled(image, index.part(image) or index.part(path), tuple(targets), size, path)


def _box(values: Sequence[float], where: str, **outline: Any) -> Target:
    left, top, width, height = values
    if not all(map(math.isfinite, (left, top, width, height))) or width <= 0 or height <= 0:
        raise UserError(
            f'Cannot read {where}: expected a box of positive size, got x {left:g}, y {top:g}, width {width:g}, height '
            f'{height:g}; repair it.'
        )
    return Target(left, top, width, height, **outline)


def _number(text: str | None, where: str, key: str) -> float:
    try:
        value = float(text or '')
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f'Cannot read {where}: expected a number as {key}, got {text!r}; repair it.')
    return value


def _text(path: Path) -> str:
    try:
        return read_regular(path, 'labels', _LARGEST).decode('utf-8-sig')
    except UnicodeDecodeError as error:
        raise UserError(f'Cannot read labels {path}: expected UTF-8 text ({error}); save it as such.') from None


def _xml(path: Path) -> ElementTree.Element:
    """XML without declarations of its own: entities could grow without end, or name other files."""
    text = _text(path)
    if re.search(r'<!(?!--|\[CDATA\[)', text):
        raise UserError(f'Cannot read {path}: it declares a document type or entities; remove that declaration.')
    try:
        return ElementTree.fromstring(re.sub(r'^\s*<\?xml[^>]*\?>', '', text))
    except ElementTree.ParseError as error:
        raise UserError(f'Cannot read {path}: expected XML ({error}); repair or remove it.') from None


@dataclass(frozen=True)
class Component:
    """A target of a mask, in whole pixels: its box, the number of its pixels, their middle, and COCO's run lengths."""

    left: int
    top: int
    width: int
    height: int
    area: int
    x: float
    y: float
    runs: tuple[int, ...]


def components(mask: np.ndarray) -> list[Component]:
    """The 8-connected components of a mask (H, W), in the order of rows."""
    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    found = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels), start=1):
        own = labels == number
        ys, xs = np.nonzero(own)
        ends = np.flatnonzero(np.diff(own.ravel(order='F'), prepend=False, append=False)).tolist()
        runs = np.diff([0, *ends, own.size]).tolist()
        found.append(
            Component(
                columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start, len(xs),
                float(xs.mean()), float(ys.mean()), tuple(runs),
            )
        )  # fmt: skip
    return found


@dataclass(frozen=True)
class Outlined:
    """An image of which labels are written: its name with suffix, (height, width), and its targets."""

    file: str
    size: tuple[int, int]
    targets: list[Component]


def coco_text(images: Sequence[Outlined]) -> str:
    """COCO's JSON, with exact masks as run lengths."""
    annotations = [
        {
            'image_id': number, 'category_id': 1, 'iscrowd': 0, 'area': target.area,
            'bbox': [target.left, target.top, target.width, target.height],
            'segmentation': {'counts': target.runs, 'size': image.size},
        }
        for number, image in enumerate(images, start=1)
        for target in image.targets
    ]  # fmt: skip
    return json.dumps(
        {
            'images': [
                {'id': number, 'file_name': image.file, 'height': image.size[0], 'width': image.size[1]}
                for number, image in enumerate(images, start=1)
            ],
            'annotations': [{'id': number, **entry} for number, entry in enumerate(annotations, start=1)],
            'categories': [{'id': 1, 'name': 'target'}],
        }
    )


def yolo_text(image: Outlined) -> str:
    """YOLO's lines: class 0, then middle and size of the box as fractions of the image's sides."""
    height, width = image.size
    return ''.join(
        f'0 {(t.left + t.width / 2) / width:.9f} {(t.top + t.height / 2) / height:.9f} '
        f'{t.width / width:.9f} {t.height / height:.9f}\n'
        for t in image.targets
    )


def voc_text(image: Outlined) -> str:
    """Pascal VOC's XML."""
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = image.file
    size = ElementTree.SubElement(root, 'size')
    for key, value in (('width', image.size[1]), ('height', image.size[0]), ('depth', 1)):
        ElementTree.SubElement(size, key).text = str(value)
    for target in image.targets:
        item = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(item, 'name').text = 'target'
        box = ElementTree.SubElement(item, 'bndbox')
        right, bottom = target.left + target.width, target.top + target.height
        for key, value in (('xmin', target.left + 1), ('ymin', target.top + 1), ('xmax', right), ('ymax', bottom)):
            ElementTree.SubElement(box, key).text = str(value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding='unicode') + '\n'


def table_text(images: Iterable[Outlined], points: bool) -> str:
    """A table with one row a target; an image without any has a row with empty cells."""
    columns = ('x', 'y') if points else ('x', 'y', 'width', 'height')
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['image', *columns])
    for image in images:
        for t in image.targets:
            writer.writerow([image.file, *((t.x, t.y) if points else (t.left, t.top, t.width, t.height))])
        if not image.targets:
            writer.writerow([image.file, *('' for _ in columns)])
    return text.getvalue()
