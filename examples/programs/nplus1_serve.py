"""Lets nplus1 differentiate, check and minimize a Python function. Copy this file beside yours:

    from nplus1_serve import serve
    serve(loss, theta=[-1.2, 1.0])                       # nplus1 gradient, nplus1 minimize
    serve(loss, gradient=gradient, theta=..., names=...)  # nplus1 check

loss(theta) returns a number; gradient(theta) a list of numbers. theta is a list of floats.
What the function prints goes to standard error: standard output belongs to the protocol.
"""

import json
import sys


def serve(loss, gradient=None, theta=None, names=None):
    out, sys.stdout = sys.stdout, sys.stderr

    def write(line):
        out.write(json.dumps(line) + "\n")
        out.flush()

    greeting = {"nplus1": 1, "single_changes": True}
    if theta is not None:
        greeting["theta"] = [float(x) for x in theta]
    if names is not None:
        greeting["names"] = list(names)
    write(greeting)
    base = []
    for request in map(json.loads, sys.stdin):
        base = request.get("theta", base)
        point = list(base)  # a change is for this request only
        if "index" in request:
            point[request["index"]] = request["value"]
        answer = {"id": request["id"]}
        try:
            answer["loss"] = float(loss(point))
            if "gradient" in request["want"] and gradient is not None:
                answer["gradient"] = [float(g) for g in gradient(point)]
        except Exception as error:  # the function has no value there
            answer = {"id": request["id"], "error": f"{type(error).__name__}: {error}"}
        write(answer)
