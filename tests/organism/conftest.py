from organism_fixtures import (
    facts_family as facts_family,
    family_home as family_home,
    induction_family as induction_family,
)
