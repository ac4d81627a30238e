"""local_llm: stands in for rhetor. It knows no notes and is not clever, but it needs nobody and is always there.

POST /api/generate    {"words": 12, "model": "small"}    what a very small model would say

Plain Python. It offers no capability of its own: `fallbacks` in components.json names it as the one that stands in for
those who offer text_generation, with the parameter `model`.
"""

from itertools import cycle, islice
from typing import Any

from serving import Request, Service

SENTENCE = "I am a small model and I know little but I will say something"

service = Service("local_llm", port=8012, announced=False)


@service.post("/api/generate")
def generate(request: Request) -> Any:
    wish = request.body if isinstance(request.body, dict) else {}
    words = SENTENCE.split()
    count = wish.get("words", len(words))
    said = islice(cycle(words), count if isinstance(count, int) else len(words))
    return {"text": f"[{wish.get('model', 'none')}] {' '.join(said)}"}


if __name__ == "__main__":
    service.run()
