"""Label files of other programs: read, turned into masks, written, and read again."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from drpca.cli.data import main
from drpca.datasets import open_split
from drpca.datasets.check import check_dataset
from drpca.datasets.convert import convert_labels, export_labels
from drpca.datasets.importing import import_dataset
from drpca.datasets.labels import _runs, read_card
from drpca.datasets.splits import find_dataset
from drpca.errors import UserError
from tests.datasets.data_trees import save

SIZE = (40, 48)
BOXES = {'a': [(10, 8, 3, 2), (30, 20, 1, 1)], 'b': [(0, 0, 4, 4), (44, 36, 4, 4)], 'c': []}
"""x, y, width, height."""


def picture(boxes: list[tuple[int, int, int, int]], value: int = 200) -> np.ndarray:
    image = np.random.default_rng(0).normal(60, 3, SIZE)
    for x, y, w, h in boxes:
        image[y : y + h, x : x + w] = value
    return image.astype(np.uint8)


def mask_of(boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    return picture(boxes, 255) == 255


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    """A data set 'mine' of images of bright boxes, one to train on, one for validation, one to test."""
    for name, boxes in BOXES.items():
        save(picture(boxes), tmp_path / f'mine/images/{name}.png')
        save(np.uint8(255) * mask_of(boxes), tmp_path / f'mine/masks/{name}.png')
    for name, members in (('train', 'a'), ('val', 'c'), ('test', 'b')):
        (tmp_path / f'mine/{name}.txt').write_text(members)
    return tmp_path


def masks_in(root: Path, name: str) -> dict[str, np.ndarray]:
    return {
        image: opened.read_mask(image)
        for split in ('train', 'val', 'test')
        for opened in [open_split(name, split, root)]
        for image in opened.names
    }


@pytest.mark.parametrize('rule', ['box', 'grow'])
@pytest.mark.parametrize('to', ['coco', 'yolo', 'voc', 'csv'])
def test_masks_of_boxes_survive_the_way_there_and_back(masks: Path, to: str, rule: str) -> None:
    assert export_labels('mine', to, masks / 'labels', data_root=masks) == {'train': 1, 'val': 1, 'test': 1}
    done = convert_labels(masks / 'labels', masks / 'again', rule=rule)
    assert (done.images, done.targets, done.left_out) == (3, 4, 0)
    assert (done.pseudo_labels, done.outlined) == ((False, 4) if to == 'coco' else (True, 0))
    assert done.grown == (0 if rule == 'box' or to == 'coco' else 4)
    assert read_card(masks / 'again') == done
    notes = [finding.kind for finding in check_dataset(*find_dataset('again', masks)).notes]
    assert ('pseudo labels' in notes) == done.pseudo_labels
    found = masks_in(masks, 'again')
    assert found.keys() == BOXES.keys()
    assert all(np.array_equal(found[name], mask_of(boxes)) for name, boxes in BOXES.items())


def test_points_survive_the_way_there_and_back(masks: Path) -> None:
    export_labels(masks / 'mine', 'points', masks / 'labels', link=True)
    rows = [line.split(',') for part in ('train', 'test') for line in (masks / f'labels/points_{part}.csv').open()][1:]
    assert rows[:2] == [['a.png', '11.0', '8.5\n'], ['a.png', '30.0', '20.0\n']]
    convert_labels(masks / 'labels', masks / 'grown')
    assert np.array_equal(masks_in(masks, 'grown')['a'], mask_of(BOXES['a'])), 'the pixels that stand out'
    convert_labels(masks / 'labels', masks / 'again', rule='box')
    assert masks_in(masks, 'again')['a'].sum() == 18, '3 × 3 pixels each'
    export_labels('again', 'points', masks / 'twice', data_root=masks)
    assert (masks / 'twice/points_train.csv').read_text().splitlines()[1:] == ['a.png,11.0,9.0', 'a.png,30.0,20.0'], (
        'halves up'
    )


def test_masks_of_any_shape_survive_coco(masks: Path) -> None:
    mask = np.random.default_rng(1).random(SIZE) > 0.7
    save(np.uint8(255) * mask, masks / 'mine/masks/a.png')
    export_labels('mine', 'coco', masks / 'labels', data_root=masks)
    convert_labels(masks / 'labels', masks / 'again')
    assert np.array_equal(masks_in(masks, 'again')['a'], mask)


def test_compressed_run_lengths() -> None:
    """The example of COCO's own documentation."""
    assert _runs('61X13mN000`0', '') == [6, 1, 40, 4, 5, 4, 5, 4, 21]


def test_outlines_are_masks_not_guesses(tmp_path: Path) -> None:
    save(picture([]), tmp_path / 'in/images/a.png')
    (tmp_path / 'in/labels').mkdir()
    x, y = 48.0, 40.0
    corners = [(10, 8), (13, 8), (13, 10), (10, 10)]
    text = '0 ' + ' '.join(f'{value:.9f}' for a, b in corners for value in (a / x, b / y))
    (tmp_path / 'in/labels/a.txt').write_text(text)
    assert not convert_labels(tmp_path / 'in', tmp_path / 'out').pseudo_labels
    assert np.array_equal(cv2.imread(str(tmp_path / 'out/masks/a.png'), 0) > 0, mask_of([(10, 8, 3, 2)]))


def test_a_target_is_what_stands_out_in_its_box_dark_ones_too(tmp_path: Path) -> None:
    image = picture([(20, 20, 3, 3)], 5)
    save(image, tmp_path / 'in/a.png')
    save(picture([]), tmp_path / 'in/flat.png')
    (tmp_path / 'in/boxes.csv').write_text('file;xmin;ymin;xmax;ymax\na.png;17;18;26;25\nflat.png;5;5;9;9\n')
    done = convert_labels(tmp_path / 'in', tmp_path / 'out')
    assert (done.grown, done.filled) == (1, 1), 'where nothing stands out, the box'
    assert np.array_equal(cv2.imread(str(tmp_path / 'out/masks/a.png'), 0) > 0, mask_of([(20, 20, 3, 3)]))
    assert (cv2.imread(str(tmp_path / 'out/masks/flat.png'), 0) > 0).sum() == 16
    card = json.loads((tmp_path / 'out/dataset.json').read_text())
    assert card['pseudo_labels'] is True
    assert card['rule'] == 'grow'


LAUGHS = '<!DOCTYPE a [<!ENTITY b "ha"><!ENTITY c "&b;&b;">]><annotation><filename>&c;</filename></annotation>'
VOC = '<annotation><size><width>{}</width><height>40</height></size><object><bndbox><xmin>{}</xmin><ymin>1</ymin>' \
      '<xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>'  # fmt: skip
COCO = '{"images": [{"id": 1, "file_name": "a.png"}], "annotations": [%s]}'


@pytest.mark.parametrize(
    ('file', 'text', 'expected'),
    [
        ('a.xml', LAUGHS, r'a\.xml: it declares a document type'),
        ('a.xml', '<annotation', 'expected XML'),
        ('a.xml', VOC.format(48, 'x'), "expected a number as xmin, got 'x'"),
        ('a.xml', VOC.format(48, 9), 'expected a box of positive size'),
        ('a.xml', VOC.format(99, 1), '99 × 40, but .* is 48 × 40'),
        ('other.xml', VOC.format(48, 1), "names the image '', which is not below"),
        ('x.json', COCO % '{"image_id": 2, "bbox": [1, 1, 2, 2]}', 'annotation 0 of .*: no image 2'),
        ('x.json', COCO % '{"image_id": 1}', 'expected bbox'),
        ('x.json', COCO % '{"image_id": 1, "bbox": [900, 1, 2, 2]}', 'lies outside'),
        ('x.json', COCO % '{"image_id": 1, "bbox": [1, 1, NaN, 2]}', 'positive size'),
        ('x.json', COCO % '{"image_id": 1, "segmentation": {"counts": [5, 1]}}', 'run lengths of 6 pixels'),
        ('x.json', COCO % '{"image_id": 1, "segmentation": {"counts": "5~"}}', 'expected run lengths'),
        ('x.json', COCO % '{"image_id": 1, "segmentation": {"counts": 5}}', 'list'),
        ('x.json', COCO % '{"image_id": 1, "segmentation": [[1, 2, 3]]}', 'three points'),
        ('x.json', '{"images": [{"id": 1}], "annotations": []}', 'file_name'),
        ('x.json', '[' * 100_000, 'expected JSON'),
        ('labels/a.txt', '0 0.5 0.5 0.1 0.1 0.9', 'five numbers'),
        ('labels/a.txt', '0 7.5 0.5 0.1 0.1', 'lies outside'),
        ('x.csv', 'image,x,y,w,h\nb.png,1,1,2,2\n', "names the image 'b.png'"),
        ('x.csv', 'image,x,y,w,h\na.png,1,1\n', 'expected 5 columns, got 3'),
        ('x.csv', 'image,x,y\n' + 'a' * 200000, 'field larger than field limit'),
        ('x.csv', b'\xff\xfe', 'expected UTF-8'),
        ('notes.md', 'nothing', 'holds no images with labels'),
    ],
)  # fmt: skip
def test_bad_labels_are_refused_in_one_line_and_leave_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, file: str, text: str | bytes, expected: str
) -> None:
    save(picture([]), tmp_path / 'in/a.png')
    path = tmp_path / 'in' / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=expected):
        convert_labels(tmp_path / 'in', tmp_path / 'out')
    assert main(['import', 'new', str(tmp_path / 'in'), '--data-root', str(tmp_path / 'data')]) == 2
    assert 'Traceback' not in capsys.readouterr().err
    assert not (tmp_path / 'data').exists()


def test_the_command_converts_and_says_what_is_wrong(masks: Path, capsys: pytest.CaptureFixture) -> None:
    arguments = ['convert', 'mine', '--data-root', str(masks), '--to', 'yolo', '--out', str(masks / 'y')]
    assert main(arguments) == 0
    assert 'train 1, val 1, test 1 images, yolo' in capsys.readouterr().out
    assert (masks / 'y/data.yaml').read_text().startswith('path: .\ntrain: images/train\n')
    for wrong in (arguments, arguments[:4], ['convert'], ['import', 'x'], ['get', 'nothing']):
        assert main(wrong) == 2
        assert capsys.readouterr().err.count('\n') == 1


def test_several_coco_files_may_speak_of_one_image(masks: Path) -> None:
    export_labels('mine', 'coco', masks / 'labels', data_root=masks)
    files = sorted((masks / 'labels/annotations').iterdir())
    contents = [json.loads(file.read_text()) for file in files]
    whole: dict[str, list] = {'images': [], 'annotations': [], 'categories': contents[0]['categories']}
    for number, content in enumerate(contents):
        for image in content['images']:
            whole['images'].append({**image, 'id': f'{number} {image["id"]}'})
        for annotation in content['annotations']:
            whole['annotations'].append({**annotation, 'image_id': f'{number} {annotation["image_id"]}'})
    convert_labels(masks / 'labels', masks / 'once', rule='box')
    (masks / 'labels/annotations/instances.json').write_text(json.dumps(whole))
    convert_labels(masks / 'labels', masks / 'twice', rule='box')
    once, twice = masks_in(masks, 'once'), masks_in(masks, 'twice')
    assert once.keys() == twice.keys()
    assert all(np.array_equal(once[name], twice[name]) for name in once)


def test_voc_needs_names_of_their_own(tmp_path: Path) -> None:
    for image in ('train/{}/1', 'train/{}/2', 'test/{}/1'):
        save(picture(BOXES['a']), tmp_path / f'P/{image.format("images")}.png')
        save(np.uint8(255) * mask_of(BOXES['a']), tmp_path / f'P/{image.format("masks")}.png')
    with pytest.raises(UserError, match="'1' is in several"):
        export_labels('P', 'voc', tmp_path / 'out', data_root=tmp_path)
    assert not (tmp_path / 'out').exists()


def test_a_source_around_the_data_set_is_refused(masks: Path) -> None:
    before = masks_in(masks, 'mine')
    with pytest.raises(UserError, match='name a source beside'):
        import_dataset('mine', masks, masks, link=True, overwrite=True)
    assert masks_in(masks, 'mine').keys() == before.keys()
