# The configurations that the pages show are configurations: httpd takes each of them.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;

my $root = "$FindBin::RealBin/../..";
my %page;
for my $file ("$root/README.md", glob "$root/docs/issuers/*.md") {
    open my $in, '<', $file or die "$file: $!";
    my $text = do { local $/; <$in> };
    my ($name) = $file =~ m{([^/]+)$};
    $page{$name} = [ $text =~ /^```apache\n(.*?)^```/msg ];
}
ok(scalar @{ $page{'README.md'} || [] } == 2, 'the README shows a configuration for GitLab, and what GitLab needs of a proxy');
for my $name (sort keys %page) {
    my ($status, $output) = configtest(join "\n", "<VirtualHost *:443>", @{ $page{$name} }, "</VirtualHost>\n");
    ok(@{ $page{$name} } > 0, "$name shows a configuration");
    is($status, 0, "and httpd takes it") or diag($output);
    unlike($output, qr/GATE2/, 'without a warning');
}

# Each example of the reference, in the place that it is for.
open my $in, '<', "$root/docs/directives.md" or die $!;
my $reference = do { local $/; <$in> };
my %issuer = (GateIssuerURL => 'GateIssuerURL https://a.example.com', GateAudience => 'GateAudience gate');
my $count = 0;
while ($reference =~ /^## (Gate\w+)\n(.*?)(?=^## )/msg) {
    my ($name, $entry) = ($1, $2);
    my ($context) = $entry =~ /^- \*\*Context\*\*: (\w+)/m or next;
    my ($example) = $entry =~ /^- \*\*Example\*\*: `(.*)`$/m or next;
    next if $example =~ m{^GateIntrospection|/etc/|/var/lib} || $name =~ /^Gate(?:Target|Job|Assertion|Audit(?:Log|Required))$/;    # not there on this machine, or not yet
    my %lines = (%issuer, $context eq 'issuer' ? ($name => $example) : ());
    my $config = join "\n", '<GateIssuer okta>', values %lines, "</GateIssuer>",
        "<GateIssuer gitlab-ci>", values %issuer, "</GateIssuer>",
        $context eq 'server' ? $example : (), '<Location /x>', 'AuthType Gate', 'Require valid-user',
        $context eq 'section' ? $example : (), '</Location>', '';
    my ($status, $output) = configtest($config);
    is($status, 0, "the example of $name is right") or diag("$config\n$output");
    $count++;
}
ok($count >= 20, "$count examples were tried");

finish();
