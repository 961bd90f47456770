"""Benchmark results, one JSON object a line, as a Markdown table."""

import json
import sys


def case(result):
    return result["workload"], result["minibatch_size"], result["compute_dtype"]


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        results = [json.loads(line) for line in file]
    peers = {
        case(r): r["rows_per_s"]
        for r in results
        if r["system"] != "rekindle"
    }
    print("| workload | settings | system | per second | of PyTorch | TFLOP/s |")
    print("|---|---|---|---|---|---|")
    for r in results:
        if "env_steps_per_s" in r:
            settings = f"{r['num_envs']} environments, {r['num_epochs']} epochs of {r['minibatch_size']} rows"
            rate, ratio, flops = f"{r['env_steps_per_s']:,.0f} env steps", "", ""
        else:
            settings = f"minibatches of {r['minibatch_size']}, {r['compute_dtype']}"
            peer = peers.get(case(r))
            rate = f"{r['rows_per_s']:,.0f} rows"
            ratio = f"{r['rows_per_s'] / peer:.2f}" if peer and r["system"] == "rekindle" else ""
            flops = f"{r['tflop_per_s']:.3g}" if "tflop_per_s" in r else ""
        print(f"| {r['workload']} | {settings} | {r['system']} | {rate} | {ratio} | {flops} |")
    print()
    print("The floor of an update, from its arithmetic and the optimizer's memory traffic alone:")
    print()
    for r in results:
        if "flops_per_row" in r and r["compute_dtype"] == "f32":
            print(
                f"- {r['workload']}, minibatches of {r['minibatch_size']}: "
                f"{r['flops_per_row'] / 1e6:.2f} MFLOP and {r['optimizer_bytes_per_row'] / 1e3:.2f} kB a row"
            )


if __name__ == "__main__":
    main()
