"""Run the tutorials of this folder and write what they print and draw beside them, as pages of the site.

python docs/tutorials/render.py [NAME ...]

A tutorial is a Python file in jupytext's percent format, NAME.py. Its page is NAME.md, with its figures in figures/.
A cell that draws says what is to be seen, for those who do not see it: `# %% alt="the model beside the world"`.
"""

import argparse
import re
from pathlib import Path

import jupytext
import matplotlib.pyplot as plt
from nbclient import NotebookClient
from nbconvert.exporters import MarkdownExporter
from nbconvert.preprocessors import TagRemovePreprocessor
from nbformat.v4 import new_code_cell
from traitlets.config import Config

FOLDER = Path(__file__).parent
_SET_UP = "%config InlineBackend.figure_formats = ['png']\n%config InlineBackend.rc = {'figure.dpi': 120}"


def tutorials() -> list[str]:
    """The names of all tutorials, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if path != Path(__file__))


def render(name: str) -> None:
    """Run NAME.py in a fresh kernel and write NAME.md and figures/NAME_*.png. What an earlier run left is replaced."""
    notebook = jupytext.read(FOLDER / f"{name}.py")
    notebook.cells.insert(0, new_code_cell(_SET_UP, metadata={"tags": ["hidden"]}))
    NotebookClient(
        notebook, timeout=1200, kernel_name="python3", coalesce_streams=True
    ).execute()
    exporter = MarkdownExporter(config=Config(), template_name="markdown")
    exporter.register_preprocessor(
        TagRemovePreprocessor(remove_cell_tags={"hidden"}, enabled=True), enabled=True
    )
    text, resources = exporter.from_notebook_node(notebook)
    figures = FOLDER / "figures"
    figures.mkdir(exist_ok=True)
    for old in figures.glob(f"{name}_*.png"):
        old.unlink()
    for called, content in resources["outputs"].items():
        _, cell, number = Path(called).stem.split("_")  # output_CELL_NUMBER
        path = figures / f"{name}_{cell}_{number}.png"
        path.write_bytes(content)
        shown = f"![{notebook.cells[int(cell)].metadata['alt']}](figures/{path.name})"
        if plt.imread(path).shape[1] > 1000:
            # Unreadable at the width of a telephone: there it is scrolled.
            shown = f"[{shown}](figures/{path.name}){{ .wide }}"
        text = text.replace(f"![png]({called})", shown)
    parts = re.split(r"(```python\n.*?```)", text, flags=re.DOTALL)
    tidy = (
        part if number % 2 else re.sub(r"\n(\s*\n)+", "\n\n", part)
        for number, part in enumerate(parts)
    )
    (FOLDER / f"{name}.md").write_text("".join(tidy).strip() + "\n", encoding="utf-8")


def main() -> None:
    """Render the tutorials that are named, or all."""
    parser = argparse.ArgumentParser(
        description="Run tutorials and write their pages."
    )
    parser.add_argument(
        "names",
        nargs="*",
        choices=[*tutorials(), []],
        help="all, where none is named",
    )
    for name in parser.parse_args().names or tutorials():
        print(f"{name} …", flush=True)
        render(name)


if __name__ == "__main__":
    main()
