def x(): pass
STEPS=()
