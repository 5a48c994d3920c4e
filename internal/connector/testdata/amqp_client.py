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
    """Sends requests with the bodies given, one after the other, and prints each answer."""

    kinds = {"text": str, "binary": bytes.fromhex, "number": int, "map": lambda s: {"type": s}, "list": lambda s: [s], "none": lambda s: None}

    def __init__(self, url, address, token, key, *bodies):
        super().__init__()
        self.url, self.address, self.left, self.sent = url, address, list(bodies), 0
        self.properties = {"wattbus_token": token}
        if key:
            self.properties["wattbus_key"] = key
        self.name, self.answers = key or "none", "/queue/answers-" + (key or "none")

    def on_start(self, event):
        c = event.container.connect(self.url, allowed_mechs="ANONYMOUS")
        self.sender = event.container.create_sender(c, self.address, options=Durable())
        event.container.create_receiver(c, self.answers)

    def ask(self):
        what, _, body = self.left.pop(0).partition(":")
        self.sender.send(Message(id="m-%s-%d" % (self.name, self.sent), body=self.kinds[what](body), reply_to=self.answers,
                                 correlation_id="order-%d" % self.sent, properties=self.properties))
        self.sent += 1

    def on_sendable(self, event):
        if self.sent == 0:
            self.ask()

    def on_message(self, event):
        m = event.message
        body = m.body if isinstance(m.body, str) else bytes(m.body).decode()
        print("answer", m.correlation_id, m.properties["wattbus_status"], body, flush=True)
        if self.left:
            self.ask()
        else:
            event.connection.close()


kind = {"subscribe": Subscribe, "request": Request}[sys.argv[1]]
Container(kind(*sys.argv[2:])).run()
