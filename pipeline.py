"""The story of hwnas. Without arguments: this machine's CPU, scikit-learn's digits, 60 % of the reference's latency.

python pipeline.py                    the whole of it, some minutes on two cores
python pipeline.py run --help         the same as `hwnas run --help`: any target, space, data, strategy, budget
"""

import sys

import hwnas
from hwnas.cli import main as command_line


def main() -> None:
    if len(sys.argv) > 1:
        command_line()

    # A target is a device with a runtime; the configuration names it, the space, the data, the strategy, the budget.
    config = hwnas.resolve({"target": "cpu", "budget": "60%", "seed": 0})

    with hwnas.Run(config) as run:
        # Time every operator the space can contain, on the target; fit the model that adds them up.
        latency = run.profile()
        reference = run.space.reference()
        print(f"the hand-made reference takes {latency.predict(reference):.4f} ms by prediction")

        # Search the space for accuracy under the budget.
        found = run.search()
        print(f"{len(found.trials)} networks compared, {len(found.pareto)} of them on the Pareto front")

        # Train winner and references alike, export, check parity, and measure the very files on the target.
        result = run.finish()

        # One page that shows why.
        page = hwnas.write_report(run.path)

    print(hwnas.summary(result))
    print(f"page    {page}\nbundle  {run.path / 'bundle'}")


if __name__ == "__main__":
    from hwnas.cli import guarded

    guarded(main)
