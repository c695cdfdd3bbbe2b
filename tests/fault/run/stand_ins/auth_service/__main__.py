import stand_in

stand_in.service("auth-service")
