"""A foreign OPC UA server that answers and is dead all the same, or that lacks what clients like to have."""

import foreign
from restarts import follows
from stage import claim, free_port, wait_until


class Watched:
    """The daemon on a foreign server, and its log."""

    def __init__(self, house, name, prepare=None):
        house.needs("asyncua")
        self.server = foreign.Foreign(free_port(), seed=3).start()
        house.afterwards(self.server.stop)
        if prepare:
            self.server.call(prepare(self.server))
        folder = house.folder(name)
        self.log = folder / "daemon.log"
        config = foreign.write_config(folder, self.server.port, 'security = "none"\nmode = "subscribe"\npoll_ms = 10')
        house.start("run", "--config", config, log=self.log)

    def text(self):
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def says(self, words, within=30):
        wait_until(lambda: words in self.text(), lambda: f"the log says '{words}'; it says {self.text()[-600:]}", within)


# F46
def opcua_clock_stands_still(house):
    """the server's clock stops while it answers: it counts as away until the clock moves"""
    watched = Watched(house, "still")
    server = watched.server
    follows(server, "the first connection")

    async def stop_clock():
        server.server.iserver._time_task_stop = True

    async def start_clock():
        inner = server.server.iserver
        await inner.time_task
        inner._time_task_stop = False
        inner.time_task = server.loop.create_task(inner._set_current_time_loop())

    server.call(stop_clock())
    house.count("server answers, its clock stands still")
    watched.says("the server's clock stands still")
    server.call(start_clock())
    follows(server, "the clock that moves again")
    return "found, and forgotten when it moved again"


# F48
def opcua_subscription_dies(house):
    """the subscription dies while reads are answered: the whole session is rebuilt, and notifications come again"""
    watched = Watched(house, "deaf")
    server = watched.server
    follows(server, "the first connection")
    before = server.sessions

    async def silence():
        for subscription in server.server.iserver.subscription_service.subscriptions.values():
            subscription._task.cancel()
            subscription.publish_results = never

    async def never(*_):
        return False

    server.call(silence())
    house.count("session alive, subscription dead")
    watched.says("the subscription is dead")
    follows(server, "the dead subscription")
    claim(server.sessions == before + 1, f"{server.sessions - before} sessions for one dead subscription")
    return "the session was rebuilt once"


def opcua_without_subscriptions(house):
    """a server without subscriptions is polled, and says so once"""

    async def refuse(foreign_server):
        from asyncua import ua
        from asyncua.common.utils import ServiceError

        async def create_subscription(*_, **__):
            raise ServiceError(ua.StatusCodes.BadServiceUnsupported)

        foreign_server.server.iserver.subscription_service.create_subscription = create_subscription

    watched = Watched(house, "unsubscribed", refuse)
    follows(watched.server, "the first connection, by polling")
    house.count("server without subscriptions")
    watched.says("it is polled every poll_ms instead")
    claim(watched.text().count("it is polled every poll_ms") == 1, "the same is said again and again")
    return "polled"


STEPS = (opcua_clock_stands_still, opcua_subscription_dies, opcua_without_subscriptions)
