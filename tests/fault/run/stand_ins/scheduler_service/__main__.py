import stand_in

stand_in.service("scheduler-service")
