"""What lets a request in: keys, hosts, origins, limits; and how an error leaves."""
