"""All that needs a GPU, in slices: run the same command until it says that everything is done.

    python benchmarks/gpu.py --out DIR
    python benchmarks/gpu.py --out DIR --data-dir CIFAR      (the search on CIFAR-10 instead of digits)
    HWNAS_DATA=DIR python benchmarks/gpu.py --out DIR --data-dir CIFAR --only sharing
    python benchmarks/gpu.py --device cpu --quick            (tries the script itself)

Parts: the tests marked `gpu`; profile and fidelity of every GPU target that is here; supernet steps; a search with
training, in bfloat16; with HWNAS_DATA, weight-sharing searches at the published size, all methods side by side, then
within the budgets of five devices. Each is one command or more, in processes of their own, stopped when the slice is
over; what they had recorded (turns, epochs) is kept under --state, so that the next slice goes on from there. Every
part's figures go to --out/gpu.json. No network is needed, nor an installed hwnas, only the packages that it requires.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from time import monotonic
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
ROOT = BENCHMARKS.parent
GPU_TARGETS = ("gpu-torch", "gpu-torch-fp16", "cuda", "tensorrt-fp32", "tensorrt-fp16", "tensorrt-int8")
METHODS = ("darts", "snas", "gdas", "proxyless", "spos", "enas")
DEVICES = ("pixel3", "raspi4", "titan_rtx_256", "gold_6226", "eyeriss")
LEAST_SECONDS = 20
"""What is left of a slice must be this long for another part to begin."""


Command = list[str]
"""Arguments of Python."""


def parts(options: argparse.Namespace, targets: list[str]) -> dict[str, list[Command]]:
    """Name → commands that run at once. Each ends with one line of JSON on stdout, except the tests."""
    quick, cuda = options.quick, options.device == "cuda"
    found: dict[str, Command] = {}
    if cuda:
        files = (str(ROOT / "tests" / name) for name in ("test_gpu.py", "test_gpu_runtimes.py"))
        found["tests"] = ["-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "-p", "no:cacheprovider", "-m", "gpu"]
        found["tests"] += files

    effort = ["--fitted", "8", "--networks", "8"] if quick else ["--networks", "100"]
    for space in ("mobile",) if quick else ("mobile", "mobile-224"):
        for target in targets:
            command = [str(BENCHMARKS / "fidelity.py"), "--space", space, "--target", target, "--json"]
            found[f"fidelity of {space} on {target}"] = command + effort

    found["supernet"] = [str(BENCHMARKS / "supernet.py"), "--device", options.device, "--bf16", "--json"]
    found["supernet"] += ["--space", "mobile", "--rounds", "1"] if quick else ["--batch", "128"]

    config = "kill" if quick else "cifar10" if options.data_dir else "digits"
    found["run"] = ["-m", "hwnas", "run", "--config", str(BENCHMARKS / "configs" / f"{config}.yaml"), "--json"]
    found["run"] += ["--target", targets[0], "--out", f"run-{config}", "--quiet"]
    found["run"] += ["--set", f"compute.device={options.device}", "--set", "compute.bf16=true"]
    found["run"] += ["--budget", "200%" if quick else "60%"]  # the configurations' own are for a CPU
    if config == "cifar10":
        found["run"] += ["--data-dir", str(options.data_dir)]
    return {name: [command] for name, command in found.items()} | sharing(options)


def sharing(options: argparse.Namespace) -> dict[str, list[Command]]:
    """Searches by weight sharing on NAS-Bench-201's space; the supernet of `spos` serves the five devices."""
    if not (options.data_dir and os.environ.get("HWNAS_DATA")):
        return {}
    size = ["--epochs", "1", "--images", "600", "--ranked", "10"] if options.quick else ["--published"]
    size += [] if options.quick else ["--batch", "256", "--epochs", str(options.epochs)]
    command = [str(BENCHMARKS / "weight_sharing.py"), "--data-dir", str(options.data_dir), "--device", options.device]
    command += ["--json", *size]
    within = [*command, "--weights", "sharing/spos-0/supernet.safetensors", "--methods", "spos"]
    return {
        "sharing": [[*command, "--out", "sharing", "--methods", method] for method in METHODS],
        "sharing within budgets": [
            [*within, "--budget", f"{device}:40", "--out", f"sharing-{device}"] for device in DEVICES
        ],
    }


def python(commands: list[Command], seconds: float, state: Path, log: Path) -> tuple[str, list[str]]:
    """All at once, in the folder `state`. How they ended ('done', 'cut off' or 'failed: …'), and the stdout of each."""
    with ThreadPoolExecutor(len(commands)) as pool:
        ended = list(pool.map(lambda command: _python(command, seconds, state, log), commands))
    worst = next((status for status, _ in ended if status != "done"), "done")
    return worst, [stdout for _, stdout in ended]


def _python(arguments: Command, seconds: float, state: Path, log: Path) -> tuple[str, str]:
    """stderr is logged."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    with log.open("a") as errors:
        errors.write(f"\n$ python {' '.join(arguments)}\n")
        errors.flush()
        try:
            ended = subprocess.run(
                [sys.executable, *arguments],
                cwd=state,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return "cut off", ""
        errors.write(ended.stdout)
    return "done" if ended.returncode == 0 else f"failed: exit code {ended.returncode}", ended.stdout


def gpu_targets(options: argparse.Namespace, log: Path) -> list[str]:
    """Profiles of this machine's GPU whose runtime is here, PyTorch's first; on the CPU, PyTorch alone."""
    if options.device == "cpu":
        return ["cpu-torch"]
    said = _python(["-m", "hwnas", "targets", "--json"], 120, options.state, log)[1]
    names = {target["name"] for target in json.loads(said.splitlines()[-1]) if target["available"]}
    return [name for name in GPU_TARGETS if name in names]


def figures(name: str, stdouts: list[str]) -> dict[str, Any]:
    last = [stdout.strip().splitlines()[-1] for stdout in stdouts]
    if name == "tests":
        return {"summary": last[0]}
    if name.startswith("sharing"):
        return {"rows": [row for text in last for row in json.loads(text)["rows"]]}
    return json.loads(last[0])


def line(name: str, record: dict[str, Any]) -> str:
    """One row of the closing table."""
    f = record.get("figures", {})
    if record["status"] != "done":
        text = record["status"]
    elif name == "tests":
        text = f["summary"]
    elif name.startswith("fidelity"):
        within, mean, noise = (100 * f[key] for key in ("within_5", "mean", "noise_floor"))
        text = f"{within:.0f} % within ±5 %, mean error {mean:.1f} %, noise floor {noise:.1f} %, "
        text += f"Spearman {f['spearman']:.4f}, {f['fastest_ms']:.3g}–{f['slowest_ms']:.3g} ms"
    elif name.startswith("sharing"):
        text = "; ".join(f"{r['method']} {r['taken']:.2f} (mode {r['mode']:.2f}) of {r['best']:.2f}" for r in f["rows"])
    elif name == "supernet":
        text = "; ".join(
            f"{r['space']} {r['step']} {r['ms']:.1f} ms ×{r['ratio']:.2f}, {r['memory_mb']:.0f} MB" for r in f["rows"]
        )
    else:
        accuracy, measured = 100 * f["accuracy"], f["measured_ms"]["median"]
        text = f"accuracy {accuracy:.2f} %, {measured:.4g} ms of a budget of {f['budget_ms']:.4g} ms"
    return f"| {name} | {record['seconds']:.0f} s | {text} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny parts, to try the script")
    parser.add_argument(
        "--out", type=Path, default=Path(os.environ.get("OUT", "runs/gpu")), help="for gpu.json, gpu.log"
    )
    parser.add_argument("--state", type=Path, default=ROOT / "runs" / "gpu", help="what the next slice goes on from")
    parser.add_argument("--minutes", type=float, default=9.5, help="of this slice")
    parser.add_argument("--data-dir", type=Path, help="a folder that holds CIFAR-10; without it the run is on digits")
    parser.add_argument("--epochs", type=int, default=50, help="of the weight-sharing searches")
    parser.add_argument("--only", help="parts whose names contain this")
    options = parser.parse_args()
    end = monotonic() + 60 * options.minutes
    for folder in (options.out, options.state):
        folder.mkdir(parents=True, exist_ok=True)
    options.out, options.state = options.out.resolve(), options.state.resolve()
    options.data_dir = options.data_dir and options.data_dir.resolve()
    if os.environ.get("HWNAS_DATA"):
        os.environ["HWNAS_DATA"] = str(Path(os.environ["HWNAS_DATA"]).resolve())
    log, kept = options.out / "gpu.log", options.state / "gpu.json"
    records: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    targets = gpu_targets(options, log)
    if not targets:
        sys.exit(f"no GPU target is available here: {log}, and `python -m hwnas targets`, say what each needs")
    wanted = {name: command for name, command in parts(options, targets).items() if (options.only or "") in name}
    for name, commands in wanted.items():
        left, record = end - monotonic(), records.get(name, {"seconds": 0.0})
        if record.get("status") == "done" or left < LEAST_SECONDS:
            continue
        print(f"{name} …", file=sys.stderr, flush=True)
        start = monotonic()
        status, stdouts = python(commands, left, options.state, log)
        record |= {"status": status, "seconds": record["seconds"] + monotonic() - start, "commands": commands}
        if status == "done":
            record["figures"] = figures(name, stdouts)
        else:
            record["said"] = [stdout[-1000:] for stdout in stdouts]
        records[name] = record
        text = json.dumps(records, indent=1)
        kept.write_text(text)
        (options.out / "gpu.json").write_text(text)
    print("| part | time | figures |\n|---|---|---|")
    for name in wanted:
        print(line(name, records[name]) if name in records else f"| {name} | | not begun |")
    undone = [name for name in wanted if records.get(name, {}).get("status") != "done"]
    print("\neverything is done" if not undone else f"\nrun it again for: {', '.join(undone)}")
    sys.exit(bool(undone))


if __name__ == "__main__":
    main()
