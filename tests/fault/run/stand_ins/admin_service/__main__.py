import stand_in

stand_in.service("admin-service")
