"""What a training will need, computed before it is begun: memory, layout, time and money. Nothing here needs torch.

- `optimum`: how large a model a budget of computing is best spent on
- `shapes`: layers, width and heads for a number of parameters
- `work`: the operations of one step, counted
- `devices`: what accelerators do, from their makers; `measured`: what this machine's processor does
- `memory`, `timing`: what a recipe takes on a device, by formulas
- `layouts`: the layout with the shortest step among those that fit
- `plan`: all of it together
"""
