"""A modelled filesystem at one moment: files, attributes, folders."""

from __future__ import annotations

from tests.support.crash_content import Content
from tests.support.crash_ops import (
    ROOT,
    Attribute,
    Change,
    Cut,
    Enter,
    Inode,
    Leave,
    Move,
    Punch,
    Write,
)


class Image:
    """What is on a disk, or what a running system shows of it."""

    __slots__ = ("attributes", "files", "folders", "inodes")

    def __init__(self) -> None:
        self.inodes: dict[int, Inode] = {ROOT: Inode(ROOT, folder=True, shown=ROOT)}
        self.files: dict[int, Content] = {}
        self.attributes: dict[int, dict[str, bytes]] = {ROOT: {}}
        self.folders: dict[int, dict[str, int]] = {ROOT: {}}

    def copy(self) -> Image:
        """Another disk with the same on it."""
        image = Image()
        image.inodes = self.inodes.copy()
        image.files = {number: content.copy() for number, content in self.files.items()}
        image.attributes = {number: names.copy() for number, names in self.attributes.items()}
        image.folders = {number: names.copy() for number, names in self.folders.items()}
        return image

    def add(self, inode: Inode) -> None:
        """An inode without bytes, attributes and names."""
        self.inodes[inode.number] = inode
        self.attributes[inode.number] = {}
        if inode.folder:
            self.folders[inode.number] = {}
        else:
            self.files[inode.number] = Content()

    def apply(self, change: Change) -> None:
        """Make a change, which may come without those that came before it."""
        if isinstance(change, Write):
            self.files[change.inode].write(change.start, change.data)
        elif isinstance(change, Cut):
            self.files[change.inode].truncate(change.size)
        elif isinstance(change, Punch):
            self.files[change.inode].punch(change.start, change.end)
        elif isinstance(change, Attribute):
            if change.value is None:
                self.attributes[change.inode].pop(change.name, None)
            else:
                self.attributes[change.inode][change.name] = change.value
        elif isinstance(change, Enter):
            self.folders[change.folder][change.name] = change.inode
        elif isinstance(change, Leave):
            if self.folders[change.folder].get(change.name) == change.inode:
                del self.folders[change.folder][change.name]
        else:
            assert isinstance(change, Move)
            if self.folders[change.folder].get(change.name) == change.inode:
                del self.folders[change.folder][change.name]
            self.folders[change.new_folder][change.new_name] = change.inode

    def reachable(self) -> set[int]:
        """The inodes that have a name."""
        found, todo = {ROOT}, [ROOT]
        while todo:
            for number in self.folders[todo.pop()].values():
                if number not in found:
                    found.add(number)
                    if number in self.folders:
                        todo.append(number)
        return found

    def forget_nameless(self) -> None:
        """What a filesystem does when it is mounted: files without a name are gone.

        So is a file whose number another one has taken since: one inode cannot be both.
        """
        kept = self.reachable()
        newest: dict[int, int] = {}
        for number in sorted(kept):
            newest[self.inodes[number].shown] = number
        if len(newest) < len(kept):
            for names in self.folders.values():
                for name, number in list(names.items()):
                    if newest.get(self.inodes[number].shown) != number:
                        del names[name]
            kept = self.reachable()
        self.inodes = {n: v for n, v in self.inodes.items() if n in kept}
        self.files = {n: v for n, v in self.files.items() if n in kept}
        self.attributes = {n: v for n, v in self.attributes.items() if n in kept}
        self.folders = {n: v for n, v in self.folders.items() if n in kept}

    def fingerprint(self) -> int:
        """Equal for disks that a cache cannot tell from each other.

        Names that begin with a dot are drawn at random, so only their place counts.
        """
        tree = []
        for folder, names in self.folders.items():
            shown = sorted((name if name[0] != "." else ".", n) for name, n in names.items())
            tree.append((folder, tuple(shown)))
        files = [
            (n, content.size, tuple(sorted(content.sectors.items())))
            for n, content in sorted(self.files.items())
        ]
        labels = [(n, tuple(sorted(names.items()))) for n, names in sorted(self.attributes.items())]
        return hash((tuple(sorted(tree)), tuple(files), tuple(labels)))
