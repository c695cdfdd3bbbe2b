import stand_in

stand_in.service("collections-service")
