"""The locks and dependencies of docs/guide/locks.md, word for word. Run by the type checkers, not by pytest."""

from typing import Annotated

from fastapi import APIRouter, FastAPI, Request, WebSocket

from authguard import AccessDenied, Principal, Reason, allows, role
from authguard.fastapi import CurrentPrincipal, MaybePrincipal, requires

app = FastAPI()
tills = APIRouter(prefix="/tills", dependencies=[requires(role("cashier"))])  # every route of a router, or of an app

Cashier = Annotated[Principal, requires(role("cashier"))]  # the lock, and the principal that passed it
NOT_OWNER = Reason("order.not_owner", 403)
OWNERS = {5: "bob"}  # your database


@app.post("/orders/{number}/refund")
def refund(number: int, cashier: Cashier) -> dict[str, object]:
    return {"refunded": number, "by": cashier.subject}


@app.get("/orders/{number}")
def order(number: int, principal: CurrentPrincipal) -> dict[str, int]:
    if OWNERS.get(number) != principal.subject:
        raise AccessDenied(NOT_OWNER, order=number)
    return {"order": number}


@app.get("/greeting")
def greeting(principal: MaybePrincipal) -> str:
    return "hello" if principal is None else f"hello {principal.subject}"


@app.get("/news")
async def news(request: Request) -> list[str]:
    return ["news", "drafts"] if await allows(request, role("editor")) else ["news"]


@tills.websocket("/{number}")
async def till(websocket: WebSocket, number: int, principal: CurrentPrincipal) -> None:
    await websocket.accept()
    await websocket.send_text(f"{principal.subject} is at till {number}")
    await websocket.close()


app.include_router(tills)
