"""A dossier on a sales lead: research, claims with their sources, contacts, and nine written sections.

A draft of the declaration: what its computing stages do is not written yet.
"""

from collections.abc import Iterator
from typing import Annotated

from lead_models import (
    ClaimPatches,
    Claims,
    ClientSpecific,
    Composed,
    Contact,
    ContactList,
    ContextPack,
    Copy,
    DossierPlan,
    EnrichedContact,
    Insight,
    LeadProfile,
    Media,
    MergedClaims,
    Narrated,
    Opportunity,
    Order,
    Research,
    SearchPlan,
    Section,
)

from stagebook import From, Pipeline

REASONING = "openai:o4-mini"
GENERAL = "openai:gpt-4.1"
DEEP = "openai:o4-mini-deep-research"

ORDER = """
## system
Today is {{ order.current_date }}. You research sales leads for this ideal customer: {{ order.icp_config }}

## user
Industry: {{ order.industry_research }}
Context: {{ order.research_context }}
Known already: {{ order.seed_data }}
"""

lead = Pipeline("lead-dossier", input=Order, model=GENERAL)
searching = lead.phase("search-signal")
researching = lead.phase("entity-research")
enriching = lead.phase("parallel-research")
agents = lead.phase("parallel-agents")
publishing = lead.phase("publish")


@searching.prompt(label="1_SEARCH_BUILDER", returns=SearchPlan, model=REASONING, text=ORDER + "Plan the searches.")
def search_builder(order: Order) -> None: ...


@searching.prompt(
    label="2_SIGNAL_DISCOVERY",
    returns=Research,
    text=ORDER + "Search for: {{ plan.queries | join('; ') }}\nTell every signal you find, with its source.",
)
def signal_discovery(order: Order, plan: SearchPlan) -> None: ...


@researching.prompt(
    label="3_ENTITY_RESEARCH",
    returns=Research,
    model=DEEP,
    timeout=1800,
    text=ORDER + "Research the companies named here:\n{{ signal_discovery.narrative }}",
)
def entity_research(order: Order, signal_discovery: Research) -> None: ...


@researching.prompt(
    label="4_CONTACT_DISCOVERY",
    returns=Research,
    model=DEEP,
    timeout=1800,
    text=ORDER + "Find the people who decide.\n{{ signal_discovery.narrative }}\n{{ entity_research.narrative }}",
)
def contact_discovery(order: Order, signal_discovery: Research, entity_research: Research) -> None: ...


def claims_extraction(of: Narrated) -> None:
    """Take the claims out of a narrative."""


CLAIMS = "List every claim of this text with its source.\n{{ of.narrative }}"

for stage in (signal_discovery, entity_research, contact_discovery):
    enriching.add(
        claims_extraction,
        name=f"{stage.name}-claims",
        label="CLAIMS_EXTRACTION",
        returns=Claims,
        text=CLAIMS,
        reads={"of": stage},
    )

SO_FAR = """{% for stage, research in narratives.items() %}
# {{ stage }}
{{ research.narrative }}
{% endfor %}
{% for stage, found in claims.items() %}
# Claims of {{ stage }}
{{ found.claims }}
{% endfor %}
"""

Earlier = Annotated[dict[str, Research], From("signal-discovery", "entity-research", "contact-discovery")]
EarlierClaims = Annotated[
    dict[str, Claims], From("signal-discovery-claims", "entity-research-claims", "contact-discovery-claims")
]


def enrichment(order: Order, narratives: Earlier, claims: EarlierClaims) -> None:
    """Look at the lead from one side."""


enrichments = [
    enriching.add(enrichment, name=name, label=label, returns=returns, text=ORDER + SO_FAR + task)
    for name, label, returns, task in (
        ("enrich-lead", "5A_ENRICH_LEAD", LeadProfile, "Complete the lead's profile."),
        ("enrich-opportunity", "5B_ENRICH_OPPORTUNITY", Opportunity, "What could be sold to them, and why now?"),
        ("client-specific", "5C_CLIENT_SPECIFIC", ClientSpecific, "Answer the client's own questions."),
    )
]


@enriching.prompt(
    label="07B_INSIGHT",
    returns=Insight,
    text=ORDER
    + """{% for one in narratives.values() %}
{{ one.narrative }}
{% endfor %}
{{ lead }}
{{ opportunity }}
{{ specific }}
Score the lead.
""",
)
def insight(
    order: Order, narratives: Earlier, lead: LeadProfile, opportunity: Opportunity, specific: ClientSpecific
) -> None: ...


for stage in (*enrichments, insight):
    enriching.add(
        claims_extraction,
        name=f"{stage.name}-claims",
        label="CLAIMS_EXTRACTION",
        returns=Claims,
        text=CLAIMS,
        reads={"of": stage},
    )


@enriching.prompt(
    label="MERGE_CLAIMS",
    returns=ClaimPatches,
    text="{% for stage, found in claims.items() %}{% for claim in found.claims %}\n"
    "{{ stage }}.{{ claim.claim_id }}: {{ claim.statement }}\n{% endfor %}{% endfor %}\n"
    "Which of these say the same, contradict each other, or are outdated? Answer with patches.",
)
def merge_claims(claims: dict[str, Claims]) -> None: ...


@enriching.stage
def merged_claims(claims: dict[str, Claims], patches: ClaimPatches) -> MergedClaims: ...


@enriching.prompt(label="CONTEXT_PACK", returns=ContextPack, text="Tell these claims shortly:\n{{ merged.claims }}")
def context_pack(merged: MergedClaims) -> None: ...


Narratives = Annotated[
    dict[str, Narrated],
    From(
        "signal-discovery",
        "entity-research",
        "contact-discovery",
        "enrich-lead",
        "enrich-opportunity",
        "client-specific",
        "insight",
    ),
]


@agents.prompt(
    label="6_ENRICH_CONTACTS", returns=ContactList, text=SO_FAR.replace("claims.items()", "{'all': merged}.items()")
)
def enrich_contacts(narratives: Narratives, merged: MergedClaims) -> None: ...


@agents.stage
def contacts(found: ContactList) -> Iterator[Contact]: ...


@agents.prompt(
    label="6_ENRICH_CONTACT_INDIVIDUAL",
    each=Contact,
    returns=EnrichedContact,
    text="""
{{ contact.name }}, {{ contact.title }}: {{ contact.why }}
{{ merged.claims }}
What is known of this person?
""",
)
def enrich_contact_individual(contact: Contact, merged: MergedClaims) -> None: ...


@agents.prompt(
    name="copy", label="10A_COPY", each=Contact, returns=Copy, text="Write to {{ person.name }}: {{ person.summary }}"
)
def write_copy(person: EnrichedContact) -> None: ...


@agents.prompt(
    label="10B_COPY_CLIENT_OVERRIDE",
    each=Contact,
    returns=Copy,
    text="{{ copy.subject }}\n{{ copy.body }}\nWrite it as this client wants it: {{ order.client_specific_research }}",
)
def copy_client_override(copy: Copy, order: Order) -> None: ...


@agents.prompt(
    label="8_MEDIA",
    returns=Media,
    text="{{ lead.company_name }} ({{ lead.domain }})\n{{ insight.narrative }}\n{{ people }}\n"
    "{% for one in narratives.values() %}{{ one.narrative }}{% endfor %}\nWhich pictures fit?",
)
def media(narratives: Narratives, people: list[EnrichedContact], insight: Insight, lead: LeadProfile) -> None: ...


@agents.prompt(label="9_DOSSIER_PLAN", returns=DossierPlan, text="{{ pack.text }}\n" + SO_FAR + "Plan the dossier.")
def dossier_plan(pack: ContextPack, claims: dict[str, Claims], narratives: Narratives) -> None: ...


def section(plan: DossierPlan, pack: ContextPack, claims: dict[str, Claims], narratives: Narratives) -> None:
    """Write one section of the dossier."""


WRITERS = {
    "intro": "Write the introduction.",
    "signals": "Write what has happened, signal by signal.",
    "lead-intelligence": "Write what is known of the company.",
    "strategy": "Write how to approach it.",
    "opportunity": "Write what could be sold.",
    "client-specific": "Write the answers to the client's own questions.",
    "contacts": "Write who decides, person by person.",
    "outreach": "Write how to get in touch.",
    "sources": "Write the list of sources.",
}

for topic, task in WRITERS.items():
    publishing.add(
        section,
        name=f"writer-{topic}",
        label=f"10_WRITER_{topic.replace('-', '_').upper()}",
        returns=Section,
        text=f"## system\n{task}\n## user\n" + "{{ plan.sections }} {{ plan.emphasis }}\n{{ pack.text }}\n" + SO_FAR,
    )


@publishing.prompt(
    label="11_DOSSIER_COMPOSER",
    returns=Composed,
    text="Score {{ insight.lead_score }}, {{ insight.timing_urgency }}: {{ insight.score_explanation }}\n"
    "{{ copies }}\n{{ media.images }}\n"
    "{% for name, written in sections.items() %}\n# {{ name }}\n{{ written.text }}\n{% endfor %}\nCompose the dossier.",
)
def dossier_composer(
    sections: dict[str, Section],
    insight: Insight,
    media: Media,
    copies: Annotated[list[Copy], From("copy-client-override")],
) -> None: ...
