"""Two domains in, a sales playbook out, and everything between kept.

A draft of the declaration: what its computing stages do is not written yet.
"""

from collections.abc import Iterator
from typing import Annotated

from playbook_models import (
    BattleCards,
    BuyerPersonas,
    CaseStudies,
    CompanyProfile,
    Differentiators,
    Domains,
    EmailSequences,
    HomePage,
    HomepageAnalysis,
    IcpPersonas,
    Offerings,
    PageToRead,
    PainPoints,
    PlaybookSummary,
    ProofPoints,
    ReadPage,
    ReferenceCustomers,
    SalesPlaybook,
    SelectedUrls,
    Side,
    SiteContent,
    SiteMap,
    TalkTracks,
    UseCases,
    ValuePropositions,
)

from stagebook import Door, Item, Pipeline

playbook = Pipeline("sales-playbook", input=Domains, model="openai:gpt-4.1-mini")
gathering = playbook.phase("gather")
extracting = playbook.phase("vendor-elements")
understanding = playbook.phase("prospect-intelligence")
writing = playbook.phase("playbook")


@gathering.stage
def sides(domains: Domains) -> Iterator[Side]: ...


@gathering.stage(number=1, each=Side)
async def validate_domain(side: Side, door: Door) -> SiteMap: ...


@gathering.stage(number=2, each=Side)
async def scrape_homepage(side: Side, door: Door) -> HomePage: ...


@gathering.prompt(number=3, each=Side, returns=HomepageAnalysis, text="What does this company do?\n{{ page.markdown }}")
def analyse_homepage(page: HomePage) -> None: ...


@gathering.prompt(
    number=4,
    returns=SelectedUrls,
    text="""
Which of these pages should be read?
{% for role, site in sites.items() %}
The {{ role }}:
{% for url in site.urls[:200] %}
{{ url }}
{% endfor %}
{% endfor %}
""",
)
def prioritise_urls(sites: dict[str, SiteMap]) -> None: ...


@gathering.stage(number=5)
def pages_to_read(selected: SelectedUrls) -> Iterator[PageToRead]: ...


@gathering.stage(number=5, each=PageToRead, on_error="collect")
async def read_page(page: PageToRead, door: Door) -> ReadPage: ...


@gathering.stage(number=5)
def site_content(pages: list[PageToRead], texts: list[ReadPage]) -> SiteContent: ...


def specialist(content: SiteContent, about: Annotated[HomepageAnalysis, Item("vendor")]) -> None:
    """Take one kind of thing from the vendor's site."""


SITE = """{{ about.homepage_analysis }}
{% for url, page in content.vendor.items() %}
# {{ url }}
{{ page }}
{% endfor %}
"""

for name, returns, task in (
    ("offerings", Offerings, "List what they sell."),
    ("case-studies", CaseStudies, "List their case studies."),
    ("proof-points", ProofPoints, "List numbers and awards that prove their worth."),
    ("value-propositions", ValuePropositions, "List why one should buy."),
    ("reference-customers", ReferenceCustomers, "List customers that they name."),
    ("use-cases", UseCases, "List what it is used for."),
    ("icp-personas", IcpPersonas, "List whom they sell to."),
    ("differentiators", Differentiators, "List what sets them apart."),
):
    extracting.add(specialist, name=name, number=6, returns=returns, text=f"{SITE}{task} Give the source of each.")

PROSPECT = """{{ about.homepage_analysis }}
{% for url, page in content.prospect.items() %}
# {{ url }}
{{ page }}
{% endfor %}
"""


def analyst(content: SiteContent, about: Annotated[HomepageAnalysis, Item("prospect")]) -> None:
    """Understand the prospect from one side."""


understanding.add(
    analyst, name="analyse-company", number=7, returns=CompanyProfile, text=f"{PROSPECT}What company is this?"
)
understanding.add(analyst, name="analyse-pain-points", number=7, returns=PainPoints, text=f"{PROSPECT}What hurts them?")


@understanding.prompt(
    number=7,
    returns=BuyerPersonas,
    text="""
{{ company }}
{{ pains.pain_points }}
{{ offerings.offerings }}
{{ cases.case_studies }}
{{ values.value_propositions }}
{{ customers.reference_customers }}
{{ uses.use_cases }}
{{ icp.icp_personas }}
Who at this company would buy?
""",
)
def identify_personas(
    company: CompanyProfile,
    pains: PainPoints,
    offerings: Offerings,
    cases: CaseStudies,
    values: ValuePropositions,
    customers: ReferenceCustomers,
    uses: UseCases,
    icp: IcpPersonas,
) -> None: ...


BRIEF = """
{{ company.summary }}
{{ pains.pain_points }}
{{ personas.target_buyer_personas }}
{{ values.value_propositions }}
"""


def writer(company: CompanyProfile, pains: PainPoints, personas: BuyerPersonas, values: ValuePropositions) -> None:
    """Write one part of the playbook."""


for name, returns, task in (
    ("playbook-summary", PlaybookSummary, "Sum up how to sell to them."),
    ("email-sequences", EmailSequences, "Write four e-mails (days 1, 3, 7, 14) to each of the first three personas."),
    ("talk-tracks", TalkTracks, "Write what to say to each of the first three personas."),
):
    writing.add(writer, name=name, number=8, returns=returns, text=BRIEF + task)


@writing.prompt(
    number=8,
    returns=BattleCards,
    text="{{ pains.pain_points }}\n{{ different.differentiators }}\n{{ proof.proof_points }}\nWrite battle cards.",
)
def battle_cards(pains: PainPoints, different: Differentiators, proof: ProofPoints) -> None: ...


@writing.stage(number=8)
def sales_playbook(
    summary: PlaybookSummary,
    emails: EmailSequences,
    tracks: TalkTracks,
    cards: BattleCards,
    personas: BuyerPersonas,
) -> SalesPlaybook: ...
