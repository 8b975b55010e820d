"""The saver grows linearly, keeps branches apart, and removes nothing a running thread needs."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import Annotated, Any, TypedDict

import psycopg
import pytest

pytest.importorskip("langgraph.graph", reason="run: make test-agents")

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import create_checkpoint, empty_checkpoint
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

from tests.support import open_connection, value
from tidebase_pg.agents.langgraph import AsyncTideSaver, TideSaver
from tidebase_pg.errors import BadPayload, InputMismatch, MigrationDrift

WORDS = "tides are the rise and fall of sea levels caused by the moon and the sun "


def extended(before: list[str], writes: list[list[str]]) -> list[str]:
    return before + [line for lines in writes for line in lines]


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]


class Log(TypedDict):
    lines: Annotated[list[str], DeltaChannel(extended, snapshot_frequency=7)]


def answer(state: Chat) -> dict[str, Any]:
    number = len(state["messages"])
    return {"messages": [AIMessage(f"{number}: {WORDS * 10}", id=f"a{number}")]}


def chat(saver: Any) -> Any:
    builder = StateGraph(Chat)
    builder.add_node("answer", answer)
    builder.add_edge(START, "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=saver)


def config(thread_id: str = "t") -> Any:
    return {"configurable": {"thread_id": thread_id}}


def ask(graph: Any, number: int, thread_id: str = "t") -> Any:
    message = HumanMessage(f"{number}? {WORDS * 10}", id=f"h{number}")
    return graph.invoke({"messages": [message]}, config(thread_id))


REMEMBERED = "tidebase_pg.agents.langgraph.values.MOST_REMEMBERED"


@pytest.fixture
def saver(empty_dsn: str) -> Iterator[TideSaver]:
    with TideSaver.from_conn_string(empty_dsn) as made:
        made.setup()
        yield made


@pytest.fixture
def database(empty_dsn: str) -> Iterator[Any]:
    with open_connection(empty_dsn) as connection:
        yield connection


def count(database: Any, table: str) -> int:
    found: int = value(database, f"select count(*) from tide_langgraph.{table}")
    return found


def stored(database: Any, table: str = "blobs", column: str = "data") -> int:
    found: int = value(
        database, f"select coalesce(sum(octet_length({column})), 0) from tide_langgraph.{table}"
    )
    return found


def test_bytes_of_messages_grow_with_the_turns_and_not_with_their_square(
    saver: TideSaver, database: Any
) -> None:
    graph = chat(saver)
    sizes, rows = [], []
    for number in range(60):
        ask(graph, number)
        sizes.append(stored(database))
        rows.append(count(database, "elements"))
    transcript = 60 * 2 * 10 * len(WORDS)
    # Questions stand twice: as the input of their turn, and among the messages.
    assert sizes[-1] < 2 * transcript
    assert rows[-1] == 120
    first, second = sizes[29] - sizes[9], sizes[59] - sizes[39]
    assert abs(first - second) < 0.05 * first


def test_everything_kept_stays_below_two_and_a_half_transcripts_of_long_messages(
    saver: TideSaver, database: Any
) -> None:
    random = Random(7)

    def reply(state: Chat) -> dict[str, Any]:
        # Hexadecimal digits of random bytes: what Postgres compresses saves less than half.
        return {"messages": [AIMessage(random.randbytes(2500).hex(), id=random.randbytes(8).hex())]}

    builder = StateGraph(Chat)
    builder.add_node("reply", reply)
    builder.add_edge(START, "reply")
    graph = builder.compile(checkpointer=saver)
    kept = []
    for _ in range(2):
        for _ in range(50):
            question = HumanMessage(random.randbytes(2500).hex(), id=random.randbytes(8).hex())
            graph.invoke({"messages": [question]}, config())
        database.execute("vacuum full")
        kept.append(
            value(
                database,
                "select sum(pg_total_relation_size(c.oid)) from pg_class as c "
                "where c.relnamespace = 'tide_langgraph'::regnamespace and c.relkind = 'r'",
            )
        )
    assert count(database, "checkpoints") == 300
    assert (kept[1] - kept[0]) / (50 * 2 * 5000) < 2.5, kept


def test_a_saver_that_just_started_goes_on_where_another_one_stopped(
    saver: TideSaver, empty_dsn: str, database: Any
) -> None:
    for number in range(3):
        ask(chat(saver), number)
    with TideSaver.from_conn_string(empty_dsn) as another:
        state = ask(chat(another), 3)
    assert [message.id for message in state["messages"]] == [
        key for number in range(4) for key in (f"h{number}", f"a{2 * number + 1}")
    ]
    assert count(database, "lists") == 1
    assert count(database, "elements") == 8


def test_two_branches_of_a_thread_keep_their_own_values_and_share_what_came_before(
    saver: TideSaver, database: Any
) -> None:
    graph = chat(saver)
    ask(graph, 0)
    fork = next(saver.list(config())).config
    left = graph.invoke({"messages": [HumanMessage("left", id="left")]}, fork)
    right = graph.invoke({"messages": [HumanMessage("right", id="right")]}, fork)
    assert [m.id for m in left["messages"]] == ["h0", "a1", "left", "a3"]
    assert [m.id for m in right["messages"]] == ["h0", "a1", "right", "a3"]
    for tip in (left, right):
        assert any(
            [m.id for m in found.checkpoint["channel_values"].get("messages", [])]
            == [m.id for m in tip["messages"]]
            for found in saver.list(config())
        )
    shared = value(database, "select count(*) from tide_langgraph.lists as l where l.shared = 2")
    assert shared == 1
    assert count(database, "elements") == 6


def test_an_edited_message_changes_no_checkpoint_before(saver: TideSaver) -> None:
    graph = chat(saver)
    ask(graph, 0)
    ask(graph, 1)
    before = next(saver.list(config()))
    graph.update_state(config(), {"messages": [HumanMessage("edited", id="h0")]})
    texts = [m.content for m in graph.get_state(config()).values["messages"]]
    assert texts[0] == "edited"
    again = saver.get_tuple(before.config)
    assert again is not None
    assert again.checkpoint["channel_values"] == before.checkpoint["channel_values"]


def test_a_list_that_is_edited_at_every_turn_reads_back_whole(saver: TideSaver) -> None:
    graph = chat(saver)
    for number in range(40):
        ask(graph, number)
        graph.update_state(config(), {"messages": [HumanMessage(f"v{number}", id=f"h{number}")]})
    texts = [m.content for m in graph.get_state(config()).values["messages"]]
    assert texts[::2] == [f"v{number}" for number in range(40)]
    assert len(texts) == 80


def values_of(**channels: Any) -> tuple[Any, Any]:
    checkpoint = create_checkpoint(empty_checkpoint(), None, 1)
    checkpoint["channel_values"] = dict(channels)
    versions = dict.fromkeys(channels, f"{1:010}.x")
    checkpoint["channel_versions"] = versions
    return checkpoint, versions


ODD: dict[str, Any] = {
    "nothing": None,
    "true": True,
    "nan": float("inf"),
    "text": "é" * 5000,
    "nul": "a\0b",
    "surrogate": "ok \u2028",
    "empty": [],
    "empties": [[], {}],
    "bytes": b"\0\xff",
    "nested": {"a": [{"b": {1, 2}}]},
    "numbers": [1, 2.5, None, "x"],
    "messages": [HumanMessage("a"), AIMessage("b", tool_calls=[])],
}


@pytest.mark.parametrize("remembered", [0, 2**20])
@pytest.mark.parametrize("name", ODD)
def test_every_kind_of_value_reads_back_as_it_was(
    saver: TideSaver, name: str, remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REMEMBERED, remembered)
    checkpoint, versions = values_of(**{name: ODD[name]})
    at = saver.put(config(), checkpoint, {"source": "loop", "step": 1, "parents": {}}, versions)
    saver.put_writes(at, [(name, ODD[name])], "task")
    found = saver.get_tuple(at)
    assert found is not None
    assert found.checkpoint["channel_values"] == {name: ODD[name]}
    assert found.pending_writes == [("task", name, ODD[name])]


@pytest.mark.parametrize("remembered", [0, 2**20])
def test_large_values_are_compressed_where_that_saves_and_read_back_as_they_were(
    saver: TideSaver, database: Any, remembered: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REMEMBERED, remembered)
    sizes = []
    for value_ in (WORDS * 1000, Random(7).randbytes(75_000), Random(7).randbytes(3000)):
        checkpoint, versions = values_of(value=value_)
        at = saver.put(config(), checkpoint, {}, versions)
        saver.put_writes(at, [("value", [value_, {"in": value_}])], "task")
        found = saver.get_tuple(at)
        assert found is not None
        assert found.checkpoint["channel_values"] == {"value": value_}
        assert found.pending_writes == [("task", "value", [value_, {"in": value_}])]
        sizes.append(stored(database) / len(value_))
        saver.delete_thread("t")
    assert sizes[0] < 0.1
    assert sizes[1] > 2
    assert sizes[2] > 2


class Watched(TideSaver):
    """Notes how many values each read was sent."""

    def __init__(self, source: Any, **options: Any) -> None:
        super().__init__(source, **options)
        self.sent: list[int] = []

    def _execute(self, statement: Any) -> list[Any]:
        rows = super()._execute(statement)
        if statement.function == "read":
            self.sent.append(sum(checkpoint is None for checkpoint, *_ in rows))
        return rows


def test_a_read_is_sent_only_what_the_saver_has_not_seen(empty_dsn: str) -> None:
    with (
        Watched.from_conn_string(empty_dsn) as saver,
        TideSaver.from_conn_string(empty_dsn) as another,
    ):
        saver.setup()
        for number in range(5):
            ask(chat(another), number)
        found = saver.get_tuple(config())
        assert saver.sent == [10]
        assert saver.get_tuple(config()) == found
        assert saver.sent == [10, 0]
        ask(chat(another), 5)
        grown = saver.get_tuple(config())
        assert grown is not None
        assert saver.sent == [10, 0, 2]
        assert grown == another.get_tuple(config())
        assert list(saver.list(config())) == list(another.list(config()))
        chat(another).update_state(config(), {"messages": [HumanMessage("edited", id="h2")]})
        assert saver.get_tuple(config()) == another.get_tuple(config())
        another.delete_thread("t")
        assert saver.get_tuple(config()) is None


def test_a_thread_made_again_by_others_under_the_same_versions_is_read_as_it_is(
    saver: TideSaver, empty_dsn: str
) -> None:
    def put(by: TideSaver, text: str) -> None:
        values = {"one": {"text": text}, "many": [{"text": "same"}, {"text": text}]}
        checkpoint, versions = values_of(**values)
        by.put(config(), checkpoint, {}, versions)

    with TideSaver.from_conn_string(empty_dsn) as another:
        for text in ("first", "second"):
            put(another, text)
            for _ in range(2):
                found = saver.get_tuple(config())
                assert found is not None
                assert found.checkpoint["channel_values"]["one"] == {"text": text}
                assert found.checkpoint["channel_values"]["many"][1] == {"text": text}
            another.delete_thread("t")


def test_what_is_remembered_has_an_end(
    saver: TideSaver, empty_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(REMEMBERED, 100_000)
    memory = saver._memory

    def size() -> int:
        kept = [one for known in memory._threads.values() for one in known.values.values()]
        assert memory._size == sum(one.size for one in kept)
        assert all(one.size == sum(len(data) for _, data in one.blobs) for one in kept)
        return memory._size

    for number in range(30):
        name = f"t{number % 7}"
        checkpoint, versions = values_of(value={"text": "x" * 20_000, "number": number})
        versions["value"] = checkpoint["channel_versions"]["value"] = f"{number}"
        saver.put(config(name), checkpoint, {}, versions)
        assert 0 < size() <= 100_000
        found = saver.get_tuple(config(name))
        assert found is not None
        assert found.checkpoint["channel_values"]["value"]["number"] == number
        assert 0 < size() <= 100_000
    checkpoint, versions = values_of(value={"text": "x" * 200_000})
    saver.put(config("large"), checkpoint, {}, versions)
    assert size() == 0
    found = saver.get_tuple(config("large"))
    assert found is not None
    assert found.checkpoint["channel_values"] == checkpoint["channel_values"]
    saver.delete_thread("t1")
    size()


@pytest.mark.parametrize("seed", range(4))
def test_whatever_two_savers_do_to_a_thread_both_read_what_one_that_just_started_reads(
    empty_dsn: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = Random(seed)
    monkeypatch.setattr(REMEMBERED, random.choice([5_000, 2**20]))
    with ExitStack() as ending:
        savers = [ending.enter_context(TideSaver.from_conn_string(empty_dsn)) for _ in range(2)]
        savers[0].setup()
        graphs = [chat(saver) for saver in savers]
        for number in range(40):
            which = random.randrange(2)
            saver, graph = savers[which], graphs[which]
            kind = random.choice(["ask", "ask", "ask", "edit", "fork", "prune", "copy", "delete"])
            held = list(saver.list(config(), limit=9))
            if kind == "ask" or not held:
                ask(graph, number)
            elif kind == "edit":
                edited = HumanMessage(f"edited {number}", id=f"h{random.randrange(number)}")
                graph.update_state(config(), {"messages": [edited]})
            elif kind == "fork":
                text = HumanMessage(f"forked {number}", id=f"f{number}")
                graph.invoke({"messages": [text]}, random.choice(held).config)
            elif kind == "prune":
                saver.prune(["t"])
            elif kind == "copy":
                saver.delete_thread("copy")
                saver.copy_thread("t", "copy")
            elif random.random() < 0.3:
                saver.delete_thread("t")
            with TideSaver.from_conn_string(empty_dsn) as fresh:
                for name in ("t", "copy"):
                    wanted = fresh.get_tuple(config(name))
                    whole = list(fresh.list(config(name)))
                    for one in savers:
                        assert one.get_tuple(config(name)) == wanted, (number, kind)
                        assert list(one.list(config(name))) == whole, (number, kind)
                for found in random.sample(held, min(2, len(held))):
                    wanted = fresh.get_tuple(found.config)
                    assert [one.get_tuple(found.config) for one in savers] == [wanted, wanted]


def test_a_read_meets_all_conditions_newest_first_in_any_place(saver: TideSaver) -> None:
    ids: dict[tuple[str, str], list[str]] = {}
    for number in range(30):
        place = (f"t{number % 2}", ("", "inner")[number % 3 == 0])
        checkpoint, versions = values_of(value={"number": number})
        where = {"configurable": {"thread_id": place[0], "checkpoint_ns": place[1]}}
        saver.put(where, checkpoint, {"step": number % 5}, versions)
        ids.setdefault(place, []).insert(0, checkpoint["id"])

    def listed(thread_id: str | None, namespace: str | None, **options: Any) -> list[str]:
        given = {"thread_id": thread_id, "checkpoint_ns": namespace}
        asked: Any = {"configurable": {k: v for k, v in given.items() if v is not None}}
        return [found.checkpoint["id"] for found in saver.list(asked, **options)]

    for place, known in ids.items():
        assert listed(*place) == known
        assert listed(*place, limit=2) == known[:2]
        before: Any = {"configurable": {"checkpoint_id": known[1]}}
        assert listed(*place, before=before) == known[2:]
        assert listed(*place, before=before, limit=1) == known[2:3]
        for wanted in (known[0], known[-1]):
            one: Any = {"thread_id": place[0], "checkpoint_ns": place[1], "checkpoint_id": wanted}
            found = saver.get_tuple({"configurable": one})
            assert found is not None and found.checkpoint["id"] == wanted
    whole = sorted((one for known in ids.values() for one in known), reverse=True)
    of_first = sorted(ids["t0", ""] + ids["t0", "inner"], reverse=True)
    assert listed("t0", None) == of_first
    assert listed("t0", None, limit=3) == of_first[:3]
    assert listed(None, None) == whole
    assert len(listed(None, None, filter={"step": 3})) == 6
    assert listed("unknown", "") == []


def test_what_cannot_be_serialized_is_named_and_nothing_is_stored(
    saver: TideSaver, database: Any
) -> None:
    checkpoint, versions = values_of(lock=[{"a": threading.Lock()}])
    with pytest.raises(BadPayload, match=r"channel 'lock' of thread 't'\[0\]"):
        saver.put(config(), checkpoint, {}, versions)
    with pytest.raises(ValueError, match="thread_id"):
        saver.put({"configurable": {}}, checkpoint, {}, versions)
    with pytest.raises(ValueError, match="strategy"):
        saver.prune(["t"], strategy="all")
    with pytest.raises(TypeError, match="list of ids"):
        saver.prune("t")
    assert count(database, "threads") == count(database, "blobs") == 0


def test_a_put_repeated_after_a_lost_answer_stores_nothing_twice(
    saver: TideSaver, database: Any, empty_dsn: str
) -> None:
    ask(chat(saver), 0)
    found = next(saver.list(config()))
    assert found.parent_config is not None
    before = [count(database, table) for table in ("blobs", "elements", "lists", "checkpoints")]
    with TideSaver.from_conn_string(empty_dsn) as forgetful:
        versions = found.checkpoint["channel_versions"]
        forgetful.put(found.parent_config, found.checkpoint, found.metadata, versions)
    after = [count(database, table) for table in ("blobs", "elements", "lists", "checkpoints")]
    assert after[:1] + after[3:] == before[:1] + before[3:]
    again = saver.get_tuple(found.config)
    assert again is not None
    assert again.checkpoint == found.checkpoint


def test_a_thread_deleted_behind_the_back_of_a_saver_is_stored_whole_again(
    saver: TideSaver, empty_dsn: str
) -> None:
    graph = chat(saver)
    for number in range(3):
        state = ask(graph, number)
    latest = next(saver.list(config()))
    with TideSaver.from_conn_string(empty_dsn) as another:
        another.delete_thread("t")
    versions = latest.checkpoint["channel_versions"]
    saver.put(config(), latest.checkpoint, {}, versions)
    found = saver.get_tuple(config())
    assert found is not None
    assert found.checkpoint["channel_values"]["messages"] == state["messages"]


def test_pruning_keeps_the_latest_and_frees_the_rest(saver: TideSaver, database: Any) -> None:
    graph = chat(saver)
    for number in range(5):
        ask(graph, number)
    graph.update_state(config(), {"messages": [HumanMessage("edited", id="h0")]})
    before = graph.get_state(config()).values
    saver.prune(["t"])
    assert graph.get_state(config()).values == before
    assert count(database, "checkpoints") == 1
    assert count(database, "blobs") == 10
    assert value(database, "select count(*) from tide_langgraph.writes") <= 1
    assert len(ask(graph, 5)["messages"]) == 12


def test_pruning_beside_running_threads_loses_nothing(saver: TideSaver, empty_dsn: str) -> None:
    over = threading.Event()
    errors: list[BaseException] = []

    def prune() -> None:
        with TideSaver.from_conn_string(empty_dsn) as another:
            while not over.is_set():
                try:
                    another.prune(["t", "u"])
                except psycopg.Error as error:
                    errors.append(error)

    pruner = threading.Thread(target=prune)
    pruner.start()
    try:
        graph = chat(saver)
        for number in range(30):
            for thread_id in ("t", "u"):
                assert len(ask(graph, number, thread_id)["messages"]) == 2 * number + 2
    finally:
        over.set()
        pruner.join()
    assert errors == []
    with TideSaver.from_conn_string(empty_dsn) as fresh:
        for thread_id in ("t", "u"):
            found = chat(fresh).get_state(config(thread_id)).values["messages"]
            assert [m.id for m in found] == [
                key for number in range(30) for key in (f"h{number}", f"a{2 * number + 1}")
            ]


def test_pruning_a_thread_of_deltas_keeps_what_it_is_rebuilt_from(saver: TideSaver) -> None:
    builder = StateGraph(Log)
    builder.add_node("write", lambda state: {"lines": [f"w{len(state['lines'])}"]})
    builder.add_edge(START, "write")
    graph = builder.compile(checkpointer=saver)
    for number in range(10):
        expected = graph.invoke({"lines": [f"i{number}"]}, config())["lines"]
        if number in (3, 8):
            saver.prune(["t"])
        assert graph.get_state(config()).values["lines"] == expected
    assert len(expected) == 20
    kept = len(list(saver.list(config())))
    assert kept < 12


def test_a_copy_lives_on_when_its_original_is_deleted(saver: TideSaver, database: Any) -> None:
    graph = chat(saver)
    ask(graph, 0)
    graph.update_state(config(), {"messages": [HumanMessage("edited", id="h0")]})
    before = graph.get_state(config()).values
    saver.copy_thread("t", "copy")
    with pytest.raises(InputMismatch, match="copy"):
        saver.copy_thread("t", "copy")
    saver.delete_thread("t")
    assert graph.get_state(config("copy")).values == before
    assert len(ask(graph, 1, "copy")["messages"]) == 4
    saver.delete_thread("copy")
    for table in ("threads", "checkpoints", "channels", "lists", "elements", "blobs", "writes"):
        assert count(database, table) == 0


def test_idle_threads_are_removed_and_others_stay(saver: TideSaver, database: Any) -> None:
    for thread_id in ("old", "new"):
        ask(chat(saver), 0, thread_id)
    database.execute(
        "update tide_langgraph.threads set touched_at = now() - interval '2 days' "
        "where thread_id = 'old'"
    )
    assert saver.delete_idle_threads(86_400) == 1
    assert saver.get_tuple(config("old")) is None
    assert saver.get_tuple(config("new")) is not None


def test_setup_is_safe_to_repeat_and_refuses_an_edited_migration(
    saver: TideSaver, database: Any
) -> None:
    ask(chat(saver), 0)
    saver.setup()
    assert saver.get_tuple(config()) is not None
    database.execute("update tide_langgraph.migrations set sha256 = 'x'")
    with pytest.raises(MigrationDrift):
        saver.setup()


async def test_the_async_saver_keeps_a_graph_that_runs_with_asyncio(empty_dsn: str) -> None:
    async with AsyncTideSaver.from_conn_string(empty_dsn) as saver:
        await saver.setup()
        graph = chat(saver)
        for number in range(3):
            message = HumanMessage(f"{number}", id=f"h{number}")
            state = await graph.ainvoke({"messages": [message]}, config())
        assert len(state["messages"]) == 6
        history = [found async for found in saver.alist(config(), limit=4)]
        assert len(history) == 4
