"""The REST side of a venue: it stands in for a silent stream, and asks a few routine questions."""

from collections import deque
from collections.abc import Callable

from actors.feeds.adapter import Adapter, Question
from actors.feeds.board import Arrival
from actors.feeds.events import Action, Control, Error, Event, Quote
from actors.feeds.fallback import Fallback
from actors.feeds.health import Health, Poll
from actors.feeds.host import Host, Policy
from actors.feeds.http_get import http_get
from actors.feeds.http_reply import HttpReply
from actors.feeds.restraint import Restraint
from actors.feeds.strict_json import shown
from protocol.errors import EncodingError


class Poller:
    """Asks the REST interface at ``base_url``; ``use`` gets what is for the board, and the symbols
    that it is about.

    At most one request every ``adapter.rest_interval_s``; an answer about a symbol whose stream is
    back is not used, for it may be older than what the stream said.
    """

    def __init__(
        self,
        adapter: Adapter,
        base_url: str,
        *,
        fallback: Fallback,
        restraint: Restraint,
        health: Health,
        host: Host,
        policy: Policy,
        use: Callable[[list[Event], Arrival, tuple[str, ...]], None],
    ) -> None:
        self._adapter = adapter
        self._base_url = base_url
        self._fallback = fallback
        self._restraint = restraint
        self._health = health
        self._host = host
        self._policy = policy
        self._use = use
        self._routine: deque[Question] = deque()
        self._routine_s = host.now_s()
        self._turn = 0

    async def run(self) -> None:
        """Ask, until cancelled."""
        while True:
            now_s = self._host.now_s()
            due_s = self._routine_s if not self._routine else now_s
            from_s = max(min(due_s, self._fallback.next_s()), self._restraint.ask_from_s)
            if from_s > now_s:
                await self._host.sleep(from_s - now_s)
                continue
            question = self._routine_question(now_s) or self._quote_question(now_s)
            if question is None:
                await self._host.sleep(0)
                continue
            begun_s = self._host.now_s()
            await self._ask(question)
            next_s = begun_s + self._adapter.rest_interval_s
            self._restraint.ask_from_s = max(self._restraint.ask_from_s, next_s)

    def _routine_question(self, now_s: float) -> Question | None:
        if now_s >= self._routine_s:
            self._routine_s = now_s + self._policy.routine_s
            self._routine = deque(self._adapter.routine_questions())
        return self._routine.popleft() if self._routine else None

    def _quote_question(self, now_s: float) -> Question | None:
        symbols = self._fallback.polled(now_s)
        self._health.polling = bool(symbols)
        if not symbols:
            self._turn = 0
            return None
        questions = self._adapter.quote_questions(symbols)
        self._turn += 1
        return questions[(self._turn - 1) % len(questions)]

    async def _ask(self, question: Question) -> None:
        host = self._host
        try:
            reply = await http_get(
                self._base_url + question.path, host.now_ms, self._policy.timeout_s
            )
        except (OSError, EncodingError) as error:
            what = "timeout" if isinstance(error, TimeoutError) else str(error)
            self._health.fault = f"REST: {shown(what or type(error).__name__)}"
            self._count(Poll.FAILED)
            self._restraint.failed(host.now_s())
            return
        self._hear(question, reply)

    def _hear(self, question: Question, reply: HttpReply) -> None:
        host, health = self._host, self._health
        now_ms, now_s = host.now_ms(), host.now_s()
        events = self._adapter.parse_reply(reply, now_ms, question.symbol)
        errors = [event for event in events if isinstance(event, Error)]
        for error in errors:
            self._restraint.obey(error, now_ms, now_s, asked=True)
        if not errors:
            self._restraint.answered()
        self._sample_clock(events, reply, now_ms)
        quotes = [event for event in events if isinstance(event, Quote)]
        spare = [q for q in quotes if not self._fallback.is_silent(q.symbol, now_s)]
        used = [event for event in events if event not in spare]
        health.count(used, now_ms)
        symbols = tuple(q.symbol for q in quotes if q not in spare)
        arrival = Arrival(reply.raw, now_ms, host.monotonic_ns(), "rest")
        self._use(used, arrival, symbols)
        self._count(_outcome(events, bool(quotes), bool(symbols)))

    def _sample_clock(self, events: list[Event], reply: HttpReply, now_ms: int) -> None:
        for event in events:
            if (
                isinstance(event, Control)
                and event.action is Action.CLOCK_SAMPLE
                and event.venue_ts_ms is not None
                and reply.sent_ms is not None
            ):
                self._adapter.memory.clock.answered(reply.sent_ms, event.venue_ts_ms, now_ms)

    def _count(self, poll: Poll) -> None:
        self._health.polls[poll] += 1


def _outcome(events: list[Event], quoted: bool, used: bool) -> Poll:
    if quoted:
        return Poll.QUOTE if used else Poll.SPARE
    answered = any(isinstance(event, Control) for event in events)
    return Poll.ROUTINE if answered else Poll.REFUSED
