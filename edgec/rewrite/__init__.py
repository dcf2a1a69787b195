"""The rewrite driver: local rules applied to a fixpoint."""

from edgec.rewrite.rule import Explanation, NoMatch, Rule, apply_rules, eliminate_unused, no_match

__all__ = ["Explanation", "NoMatch", "Rule", "apply_rules", "eliminate_unused", "no_match"]
