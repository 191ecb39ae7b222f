# docs/examples/gitlab.conf, run as it is, with the clients that people use: git, git-lfs, skopeo, python-gitlab, curl, NuGet.
use strict;
use warnings;
use FindBin;
use lib "$FindBin::RealBin/lib";
use Gate;
use Gate::Gatectl;
use Gate::GitLab;
use MIME::Base64 qw(encode_base64);

plan(skip_all => 'one MPM is enough for the clients') if Gate::Httpd::mpm() ne 'event';

my $dir = place();
system(qw(git config --global), @$_) == 0 or die 'git config' for [ 'user.name', 'Dana' ], [ 'user.email', 'dana@example.com' ], [ 'safe.directory', '*' ], [ 'init.defaultBranch', 'main' ];

# -- GitLab's side: the stand-in, git http-backend behind the same door, a registry with token authentication
my ($pat, $job_token) = ('glpat-admin-secret-00000000001', 'glcbt-job-1');
my $password = 'service-secret-0000000000002';
my $basic = 'Basic ' . encode_base64("gate:$password", '');
system("openssl req -x509 -newkey rsa:2048 -nodes -keyout $dir/registry.key -out $dir/registry.crt -days 2 -subj /CN=registry 2>/dev/null") == 0 or die 'openssl';
my $stand_in = Gate::Process->start_listening('/usr/bin/python3', support('gitlab.py'), $pat, $basic, $job_token, "$dir/registry.key", "$dir/registry.crt");
my $api = $stand_in->address;

repository('shop/orders');
my $workhorse = workhorse_for($api, gate => $password, 'gitlab-ci-token' => $job_token);

my $registry_port = Gate::Httpd::free_port();
my $gate_port     = Gate::Httpd::free_port();
Gate::Httpd::spew("$dir/registry.yml", <<"YAML");
version: 0.1
log: { level: error }
storage: { filesystem: { rootdirectory: $dir/blobs } }
http: { addr: 127.0.0.1:$registry_port, relativeurls: true }
auth:
  token:
    realm: http://127.0.0.1:$gate_port/jwt/auth
    service: container_registry
    issuer: gitlab-issuer
    rootcertbundle: $dir/registry.crt
YAML
my $registry = Gate::Process->start({ out => "$dir/registry.log" }, 'docker-registry', 'serve', "$dir/registry.yml");

# -- the gate: the example
my $gate = gate_for('127.0.0.1:' . $workhorse->port, port => $gate_port, registry => "127.0.0.1:$registry_port",
    secrets => { 'api-token' => "$pat\n", 'git-basic' => "$basic\n" });
my $base = "127.0.0.1:$gate_port";
my $images = "localhost:$gate_port";

my $token   = mint(person(), exp_in => 900);
my $expired = mint(person(), exp_in => -600, iat_in => -900, nbf_in => -900);
my $job     = mint(job("http://$base"), exp_in => 900);
expect_in_log(qr/GATE40[13]: refused: (?:expired|token_missing|token_malformed|credential_path)/, qr/AH01797|AH01617|AH01618|AH01630/);

# -- what would become of a request, asked of this configuration
my @question = ('explain', '--config', $gate->dir . '/httpd.conf', '--httpd', $ENV{GATE_HTTPD} || '/usr/sbin/apache2', qw(--host 127.0.0.1 --method GET --path /dashboard));
is((gatectl($token, @question))[0], 0, 'explain: granted') or diag((gatectl($token, @question))[1]);
like((gatectl($expired, @question))[1], qr/refused: 401 expired/, 'explain: refused');

# -- web and WebSockets
passes($gate->get('/dashboard', headers => [ Cookie => "gate_token=$token" ]), 'web: a cookie passes');
is($gate->get('/a%2Fb', token => $token)->target, '/a%2Fb', 'web: %2F stays');
refused($gate->get('/dashboard'), 401, 'token_missing', 'web: nobody else');
my $two = $gate->get('/x', headers => [ 'Proxy-Authorization' => "Bearer $token", Authorization => 'Basic Z2l0bGFiLWNpLXRva2VuOnNlY3JldA==' ]);
is($two->sent('Authorization'), 'Basic Z2l0bGFiLWNpLXRva2VuOnNlY3JldA==', "two credentials: GitLab's own goes on untouched");
is($two->sent('Proxy-Authorization'), undef, "the gate's does not");
is($two->sent('X-Forwarded-User'), 'dana', 'and says who it is');
like($gate->get('/-/gate/login', token => $token)->header('Location') // '', qr{^/users/auth/jwt/callback\?jwt=}, "web: GitLab's login");
is($gate->get('/-/gate/jwks')->status, 200, 'web: keys for everybody');
is($gate->get('/-/cable', token => $expired)->header('X-Gate-Reason'), 'expired', 'websocket: an expired token is refused before the upgrade');

# -- git: Bearer by http.extraHeader, and the token as a password
my $url = "http://$base/shop/orders.git";
sub bearer { return "git -c http.extraHeader='Authorization: Bearer $_[0]'" }
works("git init -q work && cd work && echo one > file && git add file && git commit -qm one && " . bearer($job) . " push -q $url HEAD:main", 'git push with a job token as Bearer');
works(bearer($token) . " clone -q $url bearer && test -f bearer/file", 'git clone with Bearer');
works("git clone -q http://oauth2:$token\@$base/shop/orders.git basic && cd basic && head -c 3000000 /dev/urandom > big && git add big && git commit -qm two && git push -q", 'git clone and a push of 3 MB with the token as password');
works(bearer($token) . " clone -q $url again && cmp again/big basic/big", 'and it has all arrived');
fails("git clone -q http://oauth2:$expired\@$base/shop/orders.git no1", qr/Authentication failed/, 'git says "Authentication failed" to an expired password');
fails(bearer($expired) . " clone -q $url no2", qr/Authentication failed|could not read Username|terminal prompts disabled/, 'and in its words to an expired Bearer');
fails("git clone -q $url no3", qr/could not read Username|terminal prompts disabled|Authentication failed/, 'and to none');
fails("cd work && " . bearer($expired) . " push -q $url HEAD:other", qr/Authentication failed|could not read Username|terminal prompts disabled/, 'a push likewise');

# -- jobs of others: GitLab would see the gate's service account, so the rule names the projects
my %of = (
    "another project's job" => { project_path => 'mallory/evil', job_project_path => 'mallory/evil' },
    "a fork's job in the parent" => { project_path => 'mallory/orders' },
    "a job of a fork's pipeline" => { job_project_path => 'mallory/orders' },
    'a job of a group with a like name' => { project_path => 'shop-evil/orders', job_project_path => 'shop-evil/orders' },
    'a job of an unprotected branch' => { ref_protected => 'false' },
);
for my $whose (sort keys %of) {
    my $other = mint(job("http://$base", %{ $of{$whose} }));
    refused($gate->get("/shop/orders.git/info/refs?service=git-$_", token => $other), 403, 'role', "$whose gets no git-$_") for qw(upload-pack receive-pack);
    refused($gate->get('/api/v4/user', token => $other), 403, 'role', 'nor the API');
}
passes($gate->get('/x', token => mint(job("http://$base", project_path => 'shop/web/front', job_project_path => 'shop/web/front'))), "a subgroup's project is one of the group's");

# -- LFS: git-lfs itself, which asks a helper for the token (with the token in the URL its messages would show it)
my $big = 'head -c 2000000 /dev/urandom > big.bin';
my $as = sub { "http://oauth2:$_[0]\@$base/shop/orders.git" };
sub helper { return "-c credential.helper= -c credential.helper='!f() { echo username=oauth2; echo password=$_[0]; }; f'" }
works('git lfs install --skip-repo', 'git-lfs is there');
works("git @{[ helper($token) ]} clone -q $url large && cd large && git lfs track '*.bin' && $big && git add . && git commit -qm large && git @{[ helper($token) ]} push -q 2>&1", 'git-lfs pushes with the token as password');
works("git @{[ helper($job) ]} clone -q $url fetched && cmp large/big.bin fetched/big.bin", 'and clones with a job token');
works("git -c http.extraHeader='X-Gate-Token: $token' clone -q $url headed && cmp large/big.bin headed/big.bin", 'and with the token in a header of its own');
works("git -c http.extraHeader='Authorization: Bearer $token' clone -q $url bearing && cmp large/big.bin bearing/big.bin", 'and with Bearer');
works("GIT_LFS_SKIP_SMUDGE=1 git @{[ helper($token) ]} clone -q $url pointers && cd large && $big && git commit -qam more", 'a clone without the objects, an object more to push');
my $refused = qr/Authentication required|Authorization error|Git credentials for \S+ not found/;
fails("cd pointers && git -c remote.origin.url=@{[ $as->($expired) ]} lfs pull 2>&1", $refused, 'git-lfs says its own to an expired token');
fails("cd pointers && git lfs pull 2>&1", $refused, 'and to none');
fails("cd pointers && git -c http.extraHeader='Authorization: Bearer $expired' lfs pull 2>&1", $refused, 'and to an expired Bearer');
fails("cd pointers && git -c http.extraHeader='X-Gate-Token: $expired' lfs pull 2>&1", $refused, 'and to an expired one in a header of its own');
fails("cd large && git lfs push @{[ $as->($expired) ]} main 2>&1", $refused, 'and when it pushes');
fails("cd large && git push -q @{[ $as->($expired) ]} 2>&1", qr/Authentication failed|could not read|$refused/, 'and when git pushes for it');
my $object = (run('sha256sum < large/big.bin'))[1] =~ s/\W.*//sr;
refused($gate->get("/shop/orders.git/gitlab-lfs/objects/$object"), 403, 'rule', "an object without GitLab's credential is not asked for");
refused($gate->get("/shop/orders.git/gitlab-lfs/objects/$object", headers => [ 'X-Gate-Token' => $expired, Authorization => 'Basic eDp5' ]), 401, 'expired', 'an expired token beside it is refused');
refused($gate->get("/shop/orders.git/gitlab-lfs/objects/$object/../../../x", headers => [ Authorization => 'Basic eDp5' ]), 401, 'token_missing', 'and nothing else is open for that');

# -- two credentials: the gate's in a header of its own, GitLab's where it always is
my $page = Gate::Httpd::slurp(support('../../docs/gitlab.md'));
my ($snippet, $clone) = $page =~ /```apache\n(.*?)```\n```sh\n(git .*?)\n```/s;
my $two_gate = gate_for('127.0.0.1:' . $workhorse->port, secrets => { 'api-token' => "$pat\n", 'git-basic' => "$basic\n" }, more => $snippet);
my $clone_two = "GIT_LFS_SKIP_SMUDGE=1 " . $clone =~ s{https://(gitlab-ci\S*?)?gitlab\.example\.com}{'http://' . ($1 // '') . '127.0.0.1:' . $two_gate->port}ger;
works("GATE_TOKEN='$token'; CI_JOB_TOKEN=$job_token; $clone_two two && test -f two/file", "git with the gate's token in a header and GitLab's own as ever");
fails("GATE_TOKEN='$token'; CI_JOB_TOKEN=other; $clone_two two1", qr/Authentication failed/, "GitLab refuses its own");
fails("GATE_TOKEN='$expired'; CI_JOB_TOKEN=$job_token; $clone_two two2", qr/Authentication failed/, "the gate refuses its own");

# -- runners: a checkout with the job's own token, from their addresses alone
for my $at ([ '127.0.0.0/8', 'a runner' ], [ '192.0.2.0/24', 'somebody elsewhere' ]) {
    my $runner = gate_for('127.0.0.1:' . $workhorse->port, secrets => { 'api-token' => "$pat\n", 'git-basic' => "$basic\n" }, define => { RUNNERS => $at->[0] });
    my $from = '127.0.0.1:' . $runner->port;
    my $clone = "GIT_LFS_SKIP_SMUDGE=1 git clone -q http://gitlab-ci-token:$job_token\@$from/shop/orders.git";
    my $there = $at->[1] eq 'a runner';
    my $proxy = $runner->get('/jwt/auth?service=dependency_proxy', headers => [ Authorization => 'Basic ' . encode_base64("gitlab-ci-token:$job_token", '') ]);
    is($proxy->header('X-Gate-Reason') // 'passes', $there ? 'passes' : 'token_malformed', "$at->[1] asks GitLab for a token of the dependency proxy");
    is($runner->get('/v2/shop/dependency_proxy/containers/alpine/manifests/latest', headers => [ Authorization => 'Bearer own' ])->sent('Authorization'), $there ? 'Bearer own' : undef, 'and for an image with it');
    my $package = $runner->get('/api/v4/projects/20/packages/generic/none', headers => [ 'JOB-TOKEN' => $job_token ]);
    is($package->status . ' ' . ($package->header('X-Gate-Reason') // 'passes'), $there ? '404 passes' : '401 token_missing', 'and for a package');
    refused($runner->get('/api/v4/user', headers => [ 'JOB-TOKEN' => $job_token ]), 401, 'token_missing', 'but not for the rest of the API');
    refused($runner->get('/shop/orders.git/info/refs?service=git-receive-pack', headers => [ 'JOB-TOKEN' => $job_token ]), 401, 'token_missing', 'nor to push');
    $there or do { fails("$clone away", qr/Authentication failed/, "$at->[1] does not check out with a job token"); next };
    works("$clone runner && test -f runner/file", "$at->[1] checks out with the job's own token");
    works("git clone -q http://oauth2:$token\@$from/shop/orders.git runner2", 'the token of the gate works there, too');
    fails("GIT_LFS_SKIP_SMUDGE=1 git clone -q http://gitlab-ci-token:other\@$from/shop/orders.git runner1", qr/Authentication failed/, 'GitLab refuses another');
    fails("cd runner && git commit -q --allow-empty -m more && git push -q 2>&1", qr/Authentication failed/, 'and there is no push');
}

# -- the registry
mkdir "$dir/image";
works(<<'SH', 'an image to push') =~ /./;
python3 - <<'PY'
import gzip, hashlib, io, json, os, tarfile
os.makedirs('image/blobs/sha256')
def blob(data):
    digest = hashlib.sha256(data).hexdigest()
    open('image/blobs/sha256/' + digest, 'wb').write(data)
    return {'digest': 'sha256:' + digest, 'size': len(data)}
raw = io.BytesIO()
with tarfile.open(fileobj=raw, mode='w') as tar:
    info = tarfile.TarInfo('big'); info.size = 2000000
    tar.addfile(info, io.BytesIO(os.urandom(info.size)))
layer = blob(gzip.compress(raw.getvalue()))
config = blob(json.dumps({'architecture': 'amd64', 'os': 'linux', 'config': {}, 'rootfs': {'type': 'layers', 'diff_ids': ['sha256:' + hashlib.sha256(raw.getvalue()).hexdigest()]}}).encode())
kind = 'application/vnd.oci.image.'
manifest = blob(json.dumps({'schemaVersion': 2, 'mediaType': kind + 'manifest.v1+json', 'config': dict(config, mediaType=kind + 'config.v1+json'), 'layers': [dict(layer, mediaType=kind + 'layer.v1.tar+gzip')]}).encode())
json.dump({'schemaVersion': 2, 'manifests': [dict(manifest, mediaType=kind + 'manifest.v1+json', annotations={'org.opencontainers.image.ref.name': 'one'})]}, open('image/index.json', 'w'))
open('image/oci-layout', 'w').write('{"imageLayoutVersion":"1.0.0"}')
print('ok')
PY
SH
my $skopeo = 'skopeo --insecure-policy copy -q';
works("$skopeo --dest-tls-verify=false --dest-creds 'dana:$token' oci:image:one docker://$images/shop/orders:1", 'skopeo push: the token as password, asked for at /jwt/auth');
works("$skopeo --src-tls-verify=false --src-creds 'gitlab-ci-token:$job' docker://$images/shop/orders:1 oci:back:one", 'skopeo pull with a job token');
fails("$skopeo --src-tls-verify=false --src-creds 'dana:$expired' docker://$images/shop/orders:1 oci:no:one", qr/unauthorized|invalid username\/password|authentication required|requesting bearer token/i, 'skopeo says "unauthorized" to an expired one');
fails("$skopeo --dest-tls-verify=false --dest-creds 'dana:$expired' oci:image:one docker://$images/shop/orders:2", qr/unauthorized|invalid username\/password|authentication required|requesting bearer token/i, 'when it pushes too');
fails("$skopeo --src-tls-verify=false docker://$images/shop/orders:1 oci:no:one", qr/unauthorized|invalid username\/password|authentication required|requesting bearer token/i, 'and to none');
my @there = (Host => $images);
like($gate->get('/v2/', headers => [@there])->header('WWW-Authenticate') // '', qr{^Bearer realm="http://\Q$base\E/jwt/auth"}, "the registry's own challenge passes");
is($gate->get('/v2/', headers => [ @there, Authorization => 'Bearer x.y.z' ])->header('X-Gate-Reason'), undef, "the registry's Bearer passes");
is($gate->get($_, headers => [@there])->status, 403, "nothing else of the registry's: $_") for '/', '/metrics', '/debug/vars', '/api/v4/user', '/v2/../metrics';

# -- the API
sub python {
    my ($how, $what) = @_;
    return "/usr/bin/python3 -c \"import gitlab; gl = gitlab.Gitlab('http://$base', $how, timeout=20); $what\"";
}
for my $how ("private_token='$token'", "oauth_token='$token'") {
    my ($kind) = $how =~ /(\w+)/;
    is(works(python($how, 'gl.auth(); print(gl.user.username)'), "python-gitlab with $kind"), "dana\n", "$kind: GitLab acts for the person");
    is(works(python($how, "print(gl.projects.get('shop/orders').raw)"), "$kind: a project by its path"), "/api/v4/projects/shop%2Forders\n", '%2F stays');
}
is(works(python("private_token='$token'", "print(gl.http_get('/user', sudo='root')['username'])"), 'python-gitlab with a sudo of its own'), "dana\n", "sudo is the gate's word");
like(works(python("job_token='$job_token'", "print(gl.http_get('/job')['status'])"), 'python-gitlab with a job token'), qr/running/, "GitLab's own job token where it is GitLab's business");
for my $how ("private_token='$expired'", "oauth_token='$expired'") {
    fails(python($how, 'gl.auth()') . ' 2>&1 | grep -c "GitlabAuthenticationError: 401" | grep -v 0 && exit 7', qr/./, 'python-gitlab raises GitlabAuthenticationError for an expired one: ' . ($how =~ /(\w+)/)[0]);
}
# gitlab-cli: PyPI calls it gitlab, Debian python-gitlab
my $cli = sub { my ($how, $what) = @_; return "python-gitlab --server-url http://$base $how $what" };
for my $how ('--private-token', '--oauth-token') {
    like(works($cli->("$how '$token'", 'project get --id shop/orders'), "gitlab-cli with $how"), qr/id: 20/, 'gets its answer');
    fails($cli->("$how '$expired'", 'project get --id shop/orders'), qr/401 refused by the gate: expired/, "gitlab-cli says its own to an expired one: $how");
}
fails($cli->("--private-token '$job'", '-v current-user get'), qr/403 refused by the gate: credential_path/, 'gitlab-cli in a job is not whoever started it');
fails($cli->('', 'current-user get'), qr/401 refused by the gate: token_missing/, 'and to none');

fails("curl -sSf -H 'Authorization: Bearer $expired' http://$base/api/v4/user", qr/401/, 'curl says 401');
refused($gate->get('/api/v4/user', token => $job), 403, 'credential_path', 'a job is not whoever started its pipeline');
my $trusting = gate_for('127.0.0.1:' . $workhorse->port, secrets => { 'api-token' => "$pat\n", 'git-basic' => "$basic\n" }, more => qq(<LocationMatch "^/api/v4/">\nGateSudo people jobs\n</LocationMatch>\n));
like($trusting->get('/api/v4/user', token => mint(job('http://127.0.0.1:' . $trusting->port)))->body, qr/"dana"/, 'it is by GateSudo people jobs');
is($gate->ask('POST', '/api/v4/jobs/request', headers => [ 'Content-Type' => 'application/json' ], body => '{"token":"runner-1"}')->status, 204, 'a runner asks for jobs with its own token');
is($gate->ask('POST', '/api/v4/jobs/request', headers => [ 'Content-Type' => 'application/json' ], body => '{"token":"x"}')->header('X-Gate-Reason'), undef, "and it is GitLab that refuses it");
refused($gate->get('/api/v4/jobs/1/artifacts/x', headers => [ 'JOB-TOKEN' => 'x' ]), 401, 'token_missing', 'what is not said to be open is not');

# -- NuGet: Basic is all it knows
Gate::Httpd::spew("$dir/lib.nuspec", '<?xml version="1.0"?><package><metadata><id>ShopLib</id><version>1.0.0</version><authors>dana</authors><description>x</description></metadata><files><file src="lib.txt" target="content/lib.txt"/></files></package>');
Gate::Httpd::spew("$dir/lib.txt", "by nuget\n");
works('nuget pack lib.nuspec', 'a package for NuGet');
my $nuget = sub { my $at = "http://$base/api/v4/projects/20/packages/nuget/v2"; "rm -rf home/.config/NuGet home/NuGet && nuget sources add -Name gitlab -Source $at -UserName dana -Password '$_[0]' -StorePasswordInClearText && nuget push ShopLib.1.0.0.nupkg x -Source $at -NonInteractive 2>&1" };
like(works($nuget->($token), 'nuget push'), qr/was pushed/, 'GitLab takes the package');
fails($nuget->($expired), qr/401|Unauthorized|credentials/i, 'nuget says its own to an expired token');
fails($nuget->($job), qr/403|Forbidden/i, 'and in a job');

# -- docs/gitlab.md's recipes, as they stand there
my ($recipes) = $page =~ /^## Recipes.*?```sh\n(.*?)```/ms;
my $count = 0;
for my $line (grep { /^(?:git -c|git clone|curl|gitlab) / } split /\n/, $recipes) {
    my $recipe = $line =~ s/^gitlab/python-gitlab/r =~ s/gitlab\.example\.com/$base/gr =~ s{https://}{http://}gr;
    my $at = 'recipe' . ++$count;
    Gate::Httpd::spew("$dir/$at.sh", "mkdir -p $at && cd $at && $recipe 2>&1\n");
    works("export TOKEN='$token' GITLAB_TOKEN=glpat-dana-1; sh $at.sh && rm -rf $at", "recipe: $line");
    fails("TOKEN='$expired' sh $at.sh", qr/401|Authentication failed|could not read Username/, 'and with an expired token');
}
cmp_ok($count, '>=', 5, 'recipes were found');
my ($helper) = $recipes =~ /helper '(.*)'$/m;
mkdir "$dir/bin";
Gate::Httpd::spew("$dir/bin/get-token", "#!/bin/sh\ncat $dir/fresh 2>/dev/null\n");
chmod 0755, "$dir/bin/get-token";
{
    local @ENV{qw(PATH HELPER)} = ("$dir/bin:$ENV{PATH}", $helper);
    Gate::Httpd::spew("$dir/fresh", $token);
    works(qq(git config --file helper.cfg credential.helper "\$HELPER" && git -c include.path=$dir/helper.cfg clone -q $url helped && cmp fetched/big.bin helped/big.bin), 'recipe: the credential helper, with LFS');
    unlink "$dir/fresh";
    fails("git -c include.path=$dir/helper.cfg clone -q $url helpless", qr/quit|could not read|Authentication failed/, 'and where there is no fresh token');
    fails("cd pointers && git -c include.path=$dir/helper.cfg lfs pull 2>&1", qr/quit|not found|Authentication required/, 'and of LFS');
}

remember($pat, $password);
unlike($gate->error_log . $gate->access_log, qr/\Q$pat\E|\Q$password\E|\Q@{[ encode_base64("gate:$password", '') ]}\E/, 'no log of the gate holds a credential');
$registry->stop;
$stand_in->stop;
finish();
