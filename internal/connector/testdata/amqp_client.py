"""A program that speaks AMQP 1.0 with Qpid Proton and knows nothing of wattbus."""
import sys
from proton import Message, Terminus
from proton.handlers import MessagingHandler
from proton.reactor import Container, LinkOption


class Durable(LinkOption):
    """RabbitMQ keeps a queue over restarts whose links ask for that."""

    def apply(self, link):
        (link.source if link.is_receiver else link.target).durability = Terminus.DELIVERIES


class Subscribe(MessagingHandler):
    """Prints a line for each message, then accepts it."""

    def __init__(self, url, address):
        super().__init__(prefetch=100, auto_accept=False)
        self.url, self.address = url, address

    def on_start(self, event):
        c = event.container.connect(self.url, allowed_mechs="ANONYMOUS")
        event.container.create_receiver(c, self.address, options=Durable())

    def on_link_opened(self, event):
        print("ready", flush=True)

    def on_message(self, event):
        m = event.message
        body = m.body if isinstance(m.body, str) else bytes(m.body).decode()
        print("got", m.id, m.group_id, m.subject, m.durable, body, flush=True)
        self.accept(event.delivery)


class Request(MessagingHandler):
    """Sends a request so many times, one after the other, and prints each answer."""

    def __init__(self, url, address, token, key, body, times):
        super().__init__()
        self.url, self.address, self.token, self.key, self.body = url, address, token, key, body
        self.times, self.sent = int(times), 0

    def on_start(self, event):
        c = event.container.connect(self.url, allowed_mechs="ANONYMOUS")
        self.sender = event.container.create_sender(c, self.address, options=Durable())
        event.container.create_receiver(c, "/queue/answers")

    def ask(self):
        properties = {"wattbus_token": self.token}
        if self.key:
            properties["wattbus_key"] = self.key
        self.sender.send(Message(id="m-%s-%d" % (self.key, self.sent), body=self.body, reply_to="/queue/answers", correlation_id="order-%d" % self.sent,
                                 properties=properties))
        self.sent += 1

    def on_sendable(self, event):
        if self.sent == 0:
            self.ask()

    def on_message(self, event):
        m = event.message
        body = m.body if isinstance(m.body, str) else bytes(m.body).decode()
        print("answer", m.correlation_id, m.properties["wattbus_status"], body, flush=True)
        if self.sent < self.times:
            self.ask()
        else:
            event.connection.close()


class Malformed(MessagingHandler):
    """Sends messages with the bodies given, of which a request knows few, one after the other, and prints each answer."""

    bodies = {"text": str, "binary": bytes.fromhex, "number": int, "map": lambda s: {"type": s}, "list": lambda s: [s], "none": lambda s: None}

    def __init__(self, url, address, token, *bodies):
        super().__init__()
        self.url, self.address, self.token, self.left, self.sent = url, address, token, list(bodies), 0

    def on_start(self, event):
        c = event.container.connect(self.url, allowed_mechs="ANONYMOUS")
        self.sender = event.container.create_sender(c, self.address, options=Durable())
        event.container.create_receiver(c, "/queue/malformed")

    def ask(self):
        what, _, body = self.left.pop(0).partition(":")
        self.sender.send(Message(id="malformed-%d" % self.sent, body=self.bodies[what](body), reply_to="/queue/malformed", correlation_id=self.sent,
                                 properties={"wattbus_token": self.token}))
        self.sent += 1

    def on_sendable(self, event):
        if self.sent == 0:
            self.ask()

    def on_message(self, event):
        m = event.message
        print("answer", m.properties["wattbus_status"], bytes(m.body).decode(), flush=True)
        if self.left:
            self.ask()
        else:
            event.connection.close()


kind = {"subscribe": Subscribe, "request": Request, "malformed": Malformed}[sys.argv[1]]
Container(kind(*sys.argv[2:])).run()
