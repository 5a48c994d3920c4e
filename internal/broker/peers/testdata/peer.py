"""Exercises a broker with Paho: peer.py HOST PORT VERSION (3, 4 or 5). The first thing that is not right ends it."""

import queue
import socket
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

HOST, PORT, VERSION = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
V5 = VERSION == 5
PATIENCE = 15


def check(ok, what):
    if not ok:
        sys.exit("not right: %s" % (what,))


def properties(packet, **values):
    p = Properties(packet)
    for name, value in values.items():
        for v in value if isinstance(value, list) else [value]:
            setattr(p, name, v)
    return p


class Peer:
    """A client whose callbacks go into queues, so that the script reads from top to bottom."""

    def __init__(self, name, clean=True, will=None, connect=None):
        args = {"client_id": name, "protocol": VERSION}
        if not V5:
            args["clean_session"] = clean
        if hasattr(mqtt, "CallbackAPIVersion"):
            args["callback_api_version"] = mqtt.CallbackAPIVersion.VERSION1
        self.c = c = mqtt.Client(**args)
        self.connected, self.messages, self.subscribed, self.published, self.gone = (queue.Queue() for _ in range(5))
        c.on_connect = lambda *a: self.connected.put(a)
        c.on_message = lambda c, u, m: self.messages.put(m)
        c.on_subscribe = lambda *a: self.subscribed.put(a[3])
        c.on_publish = lambda *a: self.published.put(a[2])
        c.on_disconnect = lambda *a: self.gone.put(a)
        if will:
            c.will_set(**will)
        more = {}
        if V5:
            more["clean_start"] = clean
            connect = dict(connect or {})
            if not clean:
                connect.setdefault("SessionExpiryInterval", 300)
            more["properties"] = properties(PacketTypes.CONNECT, **connect)
        c.connect(HOST, PORT, keepalive=30, **more)
        c.loop_start()
        a = self.connected.get(timeout=PATIENCE)
        check(a[3] == 0, "CONNACK %s" % (a[3],))
        self.present = a[2]["session present"]
        self.connack = a[4] if V5 else None

    def subscribe(self, topic, qos, options=None, props=None):
        if V5:
            self.c.subscribe(topic, options=options or SubscribeOptions(qos=qos), properties=props)
        else:
            self.c.subscribe(topic, qos)
        granted = self.subscribed.get(timeout=PATIENCE)[0]
        granted = getattr(granted, "value", granted)
        check(granted == qos, "granted %s for QoS %d of %s" % (granted, qos, topic))

    def publish(self, topic, payload, qos, **more):
        self.c.publish(topic, payload, qos, **more)
        self.published.get(timeout=PATIENCE)

    def want(self, topic, payload, qos, retain=False):
        m = self.messages.get(timeout=PATIENCE)
        got = (m.topic, m.payload, m.qos, bool(m.retain))
        check(got == (topic, payload, qos, retain), "got %s, want %s" % (got, (topic, payload, qos, retain)))
        return m

    def silent(self, other):
        """What another publishes now comes next, so nothing came before."""
        self.subscribe("end", 1)
        other.publish("end", b"end", 1)
        self.want("end", b"end", 1)

    def leave(self):
        self.c.disconnect()
        self.gone.get(timeout=PATIENCE)
        self.c.loop_stop()

    def cut(self):
        self.c.loop_stop()
        self.c.socket().shutdown(socket.SHUT_RDWR)


def both_ways():
    a, b = Peer("a"), Peer("b")
    b.subscribe("to/b/#", 2)
    a.subscribe("to/a/+", 2)
    for qos in range(3):
        for size in (0, 1, 100, 20000):
            payload = bytes([qos]) * size
            a.publish("to/b/x", payload, qos)
            b.want("to/b/x", payload, qos)
            b.publish("to/a/x", payload, qos)
            a.want("to/a/x", payload, qos)
    b.c.unsubscribe("to/b/#")
    b.silent(a)
    a.leave()
    b.leave()


def retained():
    a = Peer("a")
    for qos in range(3):
        a.publish("r/%d" % qos, b"kept", qos, retain=True)
    b = Peer("b")
    b.subscribe("r/+", 2)
    got = sorted((m.topic, m.qos, bool(m.retain)) for m in (b.messages.get(timeout=PATIENCE) for _ in range(3)))
    check(got == [("r/0", 0, True), ("r/1", 1, True), ("r/2", 2, True)], got)
    b.leave()
    for qos in range(3):
        a.publish("r/%d" % qos, b"", qos, retain=True)
    b = Peer("b")
    b.subscribe("r/+", 2)
    b.silent(a)
    a.leave()
    b.leave()


def will():
    watch = Peer("watch")
    watch.subscribe("w", 1)
    Peer("mortal", will={"topic": "w", "payload": b"gone", "qos": 1}).leave()
    watch.silent(watch)
    Peer("mortal", will={"topic": "w", "payload": b"gone", "qos": 1}).cut()
    watch.want("w", b"gone", 1)
    watch.leave()


def session():
    a = Peer("a")
    away = Peer("away", clean=False)
    check(not away.present, "a session from nowhere")
    away.subscribe("s/#", 2)
    away.leave()
    for i in range(30):
        a.publish("s/x", b"%d" % i, 1 + i % 2)
    away = Peer("away", clean=False)
    if VERSION > 3:
        check(away.present, "session not present")
    got = [away.messages.get(timeout=PATIENCE) for _ in range(30)]
    for qos in (1, 2):  # Paho hands on QoS 2 with PUBREL, after later ones of QoS 1
        check([m.payload for m in got if m.qos == qos] == [b"%d" % i for i in range(qos - 1, 30, 2)], [(m.qos, m.payload) for m in got])
    away.leave()
    fresh = Peer("away")
    check(not fresh.present, "session present after a clean start")
    a.publish("s/x", b"no", 1)
    fresh.silent(a)
    fresh.leave()
    a.leave()


def properties_of_messages():
    a, b = Peer("a"), Peer("b")
    b.subscribe("p", 1, props=properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=4242))
    a.publish("p", b"question", 1, properties=properties(
        PacketTypes.PUBLISH, UserProperty=[("k", "1"), ("a", "2"), ("k", "3")], ContentType="text/plain", ResponseTopic="answer",
        CorrelationData=b"\x00\xff", PayloadFormatIndicator=1, MessageExpiryInterval=100))
    p = b.want("p", b"question", 1).properties
    check(p.UserProperty == [("k", "1"), ("a", "2"), ("k", "3")], p.UserProperty)
    check((p.ContentType, p.ResponseTopic, p.CorrelationData, p.PayloadFormatIndicator) == ("text/plain", "answer", b"\x00\xff", 1), p)
    check(p.SubscriptionIdentifier == [4242] and 90 <= p.MessageExpiryInterval <= 100, p)
    a.leave()
    b.leave()


def options():
    a, b = Peer("a"), Peer("b")
    a.subscribe("o", 1, options=SubscribeOptions(qos=1, noLocal=True))
    b.subscribe("o", 1, options=SubscribeOptions(qos=1, retainAsPublished=True))
    a.publish("o", b"kept", 1, retain=True)
    b.want("o", b"kept", 1, True)
    b.subscribe("o", 1, options=SubscribeOptions(qos=1, retainHandling=1))
    b.subscribe("o", 1, options=SubscribeOptions(qos=1, retainHandling=2))
    b.silent(b)
    a.publish("o", b"", 1, retain=True)
    a.silent(b)
    one, two = Peer("one"), Peer("two")
    one.subscribe("$share/g/shared", 1)
    two.subscribe("$share/g/shared", 1)
    for i in range(20):
        a.publish("shared", b"%d" % i, 1)
    got = []
    for p in (one, two):
        p.subscribe("mark", 1)
    a.publish("mark", b"", 1)
    for p in (one, two):
        while True:
            m = p.messages.get(timeout=PATIENCE)
            if m.topic == "mark":
                break
            got.append(m.payload)
    check(sorted(got) == sorted(b"%d" % i for i in range(20)), got)
    for p in (a, b, one, two):
        p.leave()


def connect_properties():
    anonymous = Peer("", connect={"ReceiveMaximum": 2, "TopicAliasMaximum": 5, "MaximumPacketSize": 5000})
    check(anonymous.connack.AssignedClientIdentifier != "", "no client id assigned")
    anonymous.subscribe("c", 1)
    a = Peer("a")
    a.publish("c", b"x" * 6000, 1)
    for i in range(10):
        a.publish("c", b"%d" % i, 1)
    for i in range(10):
        anonymous.want("c", b"%d" % i, 1)
    anonymous.leave()
    late = properties(PacketTypes.WILLMESSAGE, WillDelayInterval=1, UserProperty=("k", "v"))
    a.subscribe("w", 1)
    Peer("mortal", clean=False, will={"topic": "w", "payload": b"gone", "qos": 1, "properties": late}).cut()
    m = a.want("w", b"gone", 1)
    check(m.properties.UserProperty == [("k", "v")], m.properties)
    a.leave()


steps = [both_ways, retained, will, session]
if V5:
    steps += [properties_of_messages, options, connect_properties]
for step in steps:
    step()
    print(step.__name__)
