"""The operator: custom resources of the API group powerflex.dev for what CSI has no call for.

``api`` says what a custom resource is, and ``definitions`` lists them. ``rounds`` leads one object of a
resource one step further at a time. ``application`` begins a round when an object changes. Each resource is a
package, such as ``reverts``. ``reverts.definition`` has the fields that users see, ``reverts.reconciler``
decides about the next step from values alone, and ``reverts.work`` reads what it needs and carries the step
out.

All state is in the status of the objects. So the process can end anywhere.
"""
