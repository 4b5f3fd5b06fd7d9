"""The engine `remote`: predictions from a scoring service over HTTP.

engine.py      features in, predictions out, in order, several requests in flight
layout.py      which columns travel, under which names and types
wires.py       the formats; arrow_wire.py, json_wires.py, v2_wire.py
body.py        a request's body, in parts that are sent from where they lie
values.py      columns of a JSON answer, checked
client.py      one request: sign-in, tries, waits, splitting, what an answer's status means
connection.py  one connection with a deadline that holds, and an end that comes at once
service.py     what all requests to one service share: circuit breaker, Retry-After
traffic.py     what was sent, how often, how long it took
discovery.py   what a service says about a model whose artifact is not here
"""
