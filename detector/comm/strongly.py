"""Strongly connected components (Tarjan, SIAM J. Comput. 1, 1972), without recursion: waits may be thousands of ranks deep."""

from collections.abc import Collection, Iterator, Mapping, Sequence


def components(nodes: Collection[int], onward: Mapping[int, Sequence[int]]) -> Iterator[set[int]]:
    """Each set of nodes that all reach each other, once; nobody but oneself is one too."""
    index, low, stack, on_stack = dict[int, int](), dict[int, int](), list[int](), set[int]()
    for root in sorted(nodes):
        path = [] if root in index else [(root, iter(onward.get(root, ())))]
        while path:
            node, ways = path[-1]
            if node not in index:
                index[node] = low[node] = len(index)
                stack.append(node)
                on_stack.add(node)
            for other in ways:
                if other not in index:
                    path.append((other, iter(onward.get(other, ()))))
                    break
                if other in on_stack:
                    low[node] = min(low[node], index[other])
            else:
                path.pop()
                if path:
                    low[path[-1][0]] = min(low[path[-1][0]], low[node])
                if low[node] == index[node]:
                    found = set[int]()
                    while node not in found:
                        found.add(stack.pop())
                    on_stack -= found
                    yield found
