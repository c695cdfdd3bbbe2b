import stand_in

stand_in.worker("scheduler-worker")
