"""The tour's act about GPUs: a cluster with a GPU machine, the operator, a proof, a second machine, the proof again.

The sandbox has no GPU: its operator builds drivers in seconds, and its test pod says what NVIDIA's says. What is judged
is the same: the node's own count of GPUs, the verdicts on the nodes, and what stands in the thread.
"""

from __future__ import annotations

from bot.tour_accounts import Guide
from bot.tour_view import APPROVER, DEV, Json, buttons, quoted, words

CLUSTER = "vision"
PNG = b"\x89PNG\r\n\x1a\n"


def play(guide: Guide, vpc: str) -> None:
    """Makes the cluster in `vpc`, installs the operator, tests, and tests again on two machines."""
    _made(guide, vpc)
    _refused_without_operator(guide)
    _installed(guide)
    _tested(guide, f"gpu test {CLUSTER}", nodes=1)
    _tested(guide, f"gpu test {CLUSTER} --scale 2", nodes=2)


def _run(guide: Guide, command: str, asks: str, done: str) -> Json:
    guide.type(DEV, command)
    card = guide.view.wait(DEV, f"Approval needed: {asks}", timeout=90)
    guide.say(quoted(card))
    guide.say("\napprover clicks Approve")
    guide.view.click(APPROVER, card["ts"], "tkg:approve")
    guide.view.wait(DEV, "Done and proven", thread=card["ts"], since=card["ts"], timeout=120)
    guide.view.wait(DEV, f"🟢 Done: {done}", since=f"{float(card['ts']) - 1e-6:.6f}")
    return card


def _gpus(guide: Guide) -> dict[str, int]:
    """GPUs that pods may ask for, by node, as the cluster itself has it."""
    seen = guide.view.clusters().get(f"default/{CLUSTER}", {}).get("gpus", {})
    return {node: int(facts["allocatable"]) for node, facts in seen.items()}


def _made(guide: Guide, vpc: str) -> None:
    command = f"cluster create {CLUSTER} --plan dev --vpc {vpc} --gpu g4dn.xlarge"
    _run(guide, command, f"create dev cluster {CLUSTER}", f"create dev cluster {CLUSTER}")
    found = _gpus(guide)
    guide.claim("one node has a GPU, which no pod can ask for yet", list(found.values()) == [0])


def _refused_without_operator(guide: Guide) -> None:
    guide.type(DEV, f"gpu test {CLUSTER}")
    card = guide.view.wait(DEV, "Blocked: test GPUs")
    guide.say(quoted(card))
    guide.claim("a test without the operator is blocked, and says what to do", "gpu install" in words(card))
    guide.claim("a blocked plan has no Approve button", "tkg:approve" not in buttons(card))


def _installed(guide: Guide) -> None:
    card = _run(guide, f"gpu install {CLUSTER}", "install GPU operator", "install GPU operator")
    for message in guide.view.messages(DEV, thread=card["ts"])[1:]:
        guide.say(quoted(message, "   ↳ "))
    guide.claim("the node's GPU can be asked for, says the cluster itself", list(_gpus(guide).values()) == [1])
    guide.type(DEV, f"gpu status {CLUSTER}")
    answer = guide.view.wait(DEV, f"GPU of {CLUSTER} can be used")
    guide.say(quoted(answer))
    guide.claim("the status says that nobody has tested it yet", "never" in words(answer))


def _tested(guide: Guide, command: str, nodes: int) -> None:
    some = f"{nodes} node{'s' * (nodes != 1)}"
    asks = f"test GPUs of {CLUSTER} on {some}"
    if "--scale" in command:
        asks = f"scale md-gpu to {nodes} and {asks}"
    card = _run(guide, command, asks, asks)
    thread = guide.view.messages(DEV, thread=card["ts"])[1:]
    for message in thread:
        guide.say(quoted(message, "   ↳ "))
    table = next((words(message) for message in thread if "VERDICT" in words(message)), "")
    guide.claim(f"the table has {some}, each passed", table.count("passed") == nodes + 1)
    files = [file for message in thread for file in message.get("files", [])]
    guide.claim("the picture is in the thread", len(files) == 1)
    guide.claim("it is a picture, with words for who cannot see it", _is_picture(guide, files[0], nodes))
    guide.claim(f"every GPU of the {some} can be used", list(_gpus(guide).values()) == [1] * nodes)


def _is_picture(guide: Guide, file: Json, nodes: int) -> bool:
    content = guide.view.file(DEV, file)
    return content.startswith(PNG) and f"{nodes} of {nodes} GPU nodes passed" in str(file.get("alt_txt", ""))
