"""shop: takes orders.

POST /api/orders   {"item": "tea", "count": 2}    asks billing for the price, and puts the order into a stream
GET  /api/orders                                  the orders of this run, and which of them billing has told of

An order that was answered is on the disk: billing will get it, whatever dies.
"""

import msgspec

import tekton
from tekton import Message, MessageContext, MessageType, Request
from tekton.mcp.error_message import error_of

app = tekton.Component("shop", depends_on=["billing"])
billed: dict[str, bool] = {}


class Order(msgspec.Struct):
    """What is wanted, and how often."""

    item: str
    count: int = 1


@app.post("/api/orders", body=Order, status=201)
async def order(request: Request) -> dict[str, object]:
    """Take an order."""
    wanted: Order = request.body
    question = Message(MessageType.REQUEST, wanted.item, MessageContext("shop", "billing"))
    answer = await app.bus.request("billing.requests.price", question, timeout=5)
    if (error := error_of(answer)) is not None:
        raise error
    content = {"item": wanted.item, "count": wanted.count, "amount": wanted.count * answer.content}
    placed = Message(MessageType.COMMAND, content, MessageContext("shop", "billing"))
    # Before it is published: billing may be faster than the receipt.
    billed[placed.message_id] = False
    receipt = await app.bus.publish("shop.orders.new", placed)
    return {"order": placed.message_id, "number": receipt.sequence, **content}


@app.get("/api/orders")
async def orders(_: Request) -> dict[str, dict[str, bool]]:
    """All orders."""
    return {"billed": billed}


@app.subscribe("billing.billed")
async def note(message: Message) -> None:
    """Billing has told of a bill."""
    billed[message.content["order"]] = True


if __name__ == "__main__":
    app.run()
