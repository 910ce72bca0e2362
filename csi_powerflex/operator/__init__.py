"""The operator: custom resources of the API group powerflex.dev for what CSI has no call for.

``api`` says what a custom resource is, and ``definitions`` lists them. ``application`` watches the objects,
``turns`` decides when each of them has a round, and ``rounds`` does one round: one step with one object. To
lead an object is to do its rounds until its work has ended; others call this to reconcile it.

Each resource is a package, such as ``reverts``. ``reverts.definition`` has the fields that users see,
``reverts.reconciler`` decides about the next step from values alone, and ``reverts.work`` reads what it needs
and carries the step out. Several resources use ``owned`` (the objects that are made for one), ``sources``
(what a data mover reads), ``movers`` (its Jobs) and ``windows`` (two PersistentVolumes of one volume).

All state is in the status of the objects. So the process can end anywhere.
"""
