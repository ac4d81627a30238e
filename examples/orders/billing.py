"""billing: says what things cost, and writes bills.

It answers requests to `billing.requests.price`, works off the stream `orders`, and tells `billing.billed` of each bill.
An order may come twice, when billing died after it wrote the bill and before it said so: a bill is named after its
order, so that it is written once. The bills are the files in `data/bills`, or in what BILLS says.
"""

import asyncio
import json
import os
from pathlib import Path

import tekton
from tekton import Message, MessageContext, MessageType, ProblemError

PRICES = {"tea": 3, "cake": 4}
BILLS = Path(os.environ.get("BILLS", "data/bills"))
WORK = float(os.environ.get("WORK", "0.1"))
"""Seconds that a bill takes."""

app = tekton.Component("billing", capabilities=["billing"])


@app.subscribe("billing.requests.price", queue="billing")
async def price(message: Message) -> int:
    """What a thing costs; a request. What is raised here is raised by who asks."""
    item = message.content
    if not isinstance(item, str) or item not in PRICES:
        raise ProblemError(404, "no_such_item", f"there is no {item}", hint=f"ask for {' or '.join(PRICES)}")
    return PRICES[item]


@app.consume("orders")
async def bill(message: Message) -> None:
    """Write the bill of one order. Not before this has returned is the order done."""
    file = BILLS / f"{message.message_id}.json"
    if not file.exists():
        await asyncio.sleep(WORK)
        unfinished = file.with_suffix(".part")
        unfinished.write_text(json.dumps(message.content))
        unfinished.rename(file)
    billed = Message(MessageType.EVENT, {"order": message.message_id}, MessageContext("billing"))
    await app.bus.publish("billing.billed", billed)


if __name__ == "__main__":
    BILLS.mkdir(parents=True, exist_ok=True)
    app.run()
