print("this runs in the step's container")
