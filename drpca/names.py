"""Names as they are compared, case and separators aside; the public data sets by theirs."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass


def simplify(name: str) -> str:
    """Name as it is compared: lower case, letters and digits only ('SIRST-Aug' -> 'sirstaug')."""
    return re.sub(r'[^a-z0-9]', '', name.lower())


def joined_names(dataset: str | Sequence[str]) -> list[str]:
    """``'SIRSTv1+NUDT-SIRST'``, or a list, as a list of names."""
    return [name.strip() for name in dataset.split('+')] if isinstance(dataset, str) else list(dataset)


@dataclass(frozen=True)
class DatasetInfo:
    """A public data set.

    Attributes:
        name: Name used throughout.
        aliases: Other names, of the data set and of its folder; case and separators do not matter.
        images: Number of images of the whole set.
        list_ending: Ending of its official lists in the SIRST kit.
        expected: Folder to create, for error lines.
        source: Where its authors publish it.
        fetched: Whether it can be fetched from there without a drive's web page.
    """

    name: str
    aliases: tuple[str, ...]
    images: int | None
    list_ending: str = ''
    expected: str = ''
    source: str = ''
    fetched: bool = False

    @property
    def keys(self) -> tuple[str, ...]:
        """All names as they are compared."""
        return tuple(dict.fromkeys(simplify(n) for n in (self.name, *self.aliases)))


KNOWN_DATASETS = {
    info.name: info
    for info in (
        DatasetInfo(
            'SIRSTv1', ('SIRST V1', 'NUAA-SIRST', 'NUAA-SIRSTv1', 'SIRST'), 427, '_v1', 'SIRSTdevkit-master/',
            'https://github.com/YimianDai/sirst', True,
        ),
        DatasetInfo(
            'SIRSTv2', ('SIRST V2', 'NUAA-SIRSTv2'), 1024, '_full', 'SIRSTdevkit-master/',
            'https://github.com/YimianDai/open-sirst-v2', True,
        ),
        DatasetInfo(
            'NUDT-SIRST', ('NUDT',), 1327, '', 'NUDT-SIRST/{trainval,test}/{images,masks}/',
            'https://github.com/YeRen123455/Infrared-Small-Target-Detection',
        ),
        DatasetInfo(
            'IRSTD-1k', ('IRSTD',), 1001, '', 'IRSTD-1k/{trainval,test}/{images,masks}/',
            'https://github.com/RuiZhang97/ISNet',
        ),
        DatasetInfo(
            'sirst_aug', ('SIRST-Aug',), 9070, '', 'sirst_aug/{trainval,test}/{images,masks}/',
            'https://github.com/Tianfang-Zhang/AGPCNet',
        ),
        DatasetInfo('synthetic', (), None, '', 'synthetic/{trainval,test}/{images,masks}/'),
    )
}  # fmt: skip


def canonical_name(name: str) -> str:
    """'nuaa_sirst' -> 'SIRSTv1'; a name that is no known data set comes back unchanged."""
    key = simplify(name)
    return next((info.name for info in KNOWN_DATASETS.values() if key in info.keys), name)
