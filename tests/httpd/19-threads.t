# A child whose threads can not be had (a limit of processes, which prefork lives with) would know no key's end and write
# nothing down: it refuses everything, and starts again when it can.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Audit;
use File::Temp ();
use Time::HiRes qw(sleep time);

if (Gate::Httpd::mpm() ne 'prefork' || $> != 0) {
    plan skip_all => 'with the prefork MPM, by root, only';
}
# Root is not limited, httpd's run user is.
my $limited = File::Temp->new(TEMPLATE => 'gate-limited-XXXXXX', TMPDIR => 1);
print $limited "#!/bin/sh\nexec prlimit --nproc=1: @{[ Gate::Httpd::httpd_binary() ]} \"\$@\"\n";
close $limited;
chmod 0755, "$limited";
my $httpd = do {
    local $ENV{GATE_HTTPD} = "$limited";
    httpd(issuer_section('a') . gated('/x/', 'Require valid-user'), head => 'StartServers 1');
};
expect_in_log('GATE501', 'GATE502');
my $token = mint(issuer => 'a');
refused($httpd->get('/x/', token => $token), 500, 'internal', 'without its threads the gate lets nobody in');
like($httpd->error_log, qr/GATE502: .*ulimit -u.*GATE501: /s, 'and says why');
for my $child (split ' ', `pgrep -P @{[ $httpd->{process}->pid ]}`) {
    is(system(qw(setpriv --reuid=www-data --regid=www-data --clear-groups prlimit --nproc=256: --pid), $child), 0, 'more threads are allowed');
}
sleep 1.2;
passes($httpd->get('/x/', token => $token), 'then it starts');
ok(Gate::Audit::decisions($httpd->dir . '/audit.log', 1), 'and writes down what it decides');
finish();
