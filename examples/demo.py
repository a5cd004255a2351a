"""The main job on the shipped examples: scan, describe, decide, apply, export. `make demo` runs it.

It works on a copy in the folder `demo`, with the `facts` model, which needs no download: it says only
what it can measure. Before each step it prints the command that does the same.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from rich.console import Console
from rich.table import Table

import looksay

HERE = Path(__file__).resolve().parent
DEMO = Path("demo")

console = Console(highlight=False, soft_wrap=True)


def main() -> None:
    if DEMO.exists():
        shutil.rmtree(DEMO)
    shutil.copytree(HERE / "site", DEMO)
    with looksay.Library(DEMO) as library:
        step("looksay scan demo")
        seen = library.scan()
        console.print(
            f"{seen.photos} photos on {seen.pages} pages; {seen.missing} alt texts missing, {seen.empty} empty"
        )

        step("looksay describe demo --model facts")
        said = library.describe("facts")
        console.print(
            f"{said.described} described in {said.seconds:.1f} s, {len(said.failures)} failed"
        )

        step(
            "looksay decide demo --all --accept --model facts    (these are drafts: on your own site, look at them first)"
        )
        console.print(f"{library.accept_all(model='facts')} accepted")

        step("looksay apply demo --dry-run    (the first lines of the diff)")
        console.print("\n".join(library.apply(dry_run=True).diff.splitlines()[:12]), markup=False)

        step("looksay apply demo")
        written = library.apply()
        console.print(
            f"{written.texts} texts written into {len(written.files)} files; looksay undo demo takes it back"
        )

        step("looksay export demo/gallery.html demo")
        library.export("html", DEMO / "gallery.html")

        table = Table("photo", "on", "alt text", expand=True)
        for row in library.rows():
            table.add_row(row.photo, row.page, "(decoration)" if row.decorative else row.text)
        Console().print(table)
    console.print(f"To look at: {(DEMO / 'gallery.html').resolve()}")


def step(command: str) -> None:
    console.print(f"\n[bold]$ {command}[/]")


if __name__ == "__main__":
    main()
