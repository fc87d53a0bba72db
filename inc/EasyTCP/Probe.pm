package EasyTCP::Probe;

# Finds a C library by compiling, linking and running a small program against it: a header alone, or a
# library that is not found at run time, is no library. Used by Makefile.PL only.

use strict;
use warnings;

use Config;
use File::Spec;
use File::Temp ();

# cc: the compiler; inc, libs: flags of the user, tried first of all and kept in every attempt.
sub new {
    my ($class, %args) = @_;
    return bless { cc => $Config{cc}, inc => '', libs => '', %args }, $class;
}

# Whether the compiler makes programs that run. The reason why not is in $self->{output}.
sub has_compiler {
    my $self = shift;
    return defined $self->run_program("int main(void) { return 0; }\n", '', '');
}

# Whether the compiler takes a flag without complaint.
sub takes_flag {
    my ($self, $flag) = @_;
    return defined $self->run_program("int main(void) { return 0; }\n", "-Werror $flag", '');
}

# Whether source, which need not be a program, compiles. The reason why not is in $self->{output}.
sub compiles {
    my ($self, $source, $inc) = @_;
    return defined $self->_build($source, $inc, '-c', '');
}

# Whether flags are good for objects that become a library, as the module is made, or a program, as the C
# unit tests are. Arguments: flags; shared, link (for libraries); plain (for linking without the flags). The
# reason why not is in $self->{output}.
sub links_library {
    my ($self, %with) = @_;
    my $dir    = File::Temp::tempdir(CLEANUP => 1);
    my %source = (
        inner => "int inner(int n);\nint inner(int n) { return n + 1; }\n",
        outer => "int inner(int n);\nint outer(int n);\nint outer(int n) { return inner(n); }\n",
        main  => "int outer(int n);\nint main(void) { return outer(41) == 42 ? 0 : 1; }\n",
    );
    my ($library, $program) = map { _quoted(File::Spec->catfile($dir, "probe$_")) } ".$Config{dlext}",
        $Config{_exe};
    my %object;

    for my $name (sort keys %source) {
        my $file = File::Spec->catfile($dir, "$name.c");
        $object{$name} = _quoted(File::Spec->catfile($dir, "$name$Config{_o}"));
        open my $fh, '>', $file or die "Cannot write $file: $!";
        print {$fh} $source{$name};
        close $fh or die "Cannot write $file: $!";
        $self->_succeeds($self->{cc}, $Config{ccflags}, '-Werror', @with{qw(flags shared)}, '-c -o',
            $object{$name}, _quoted($file)) or return 0;
    }
    my @build_program = ($self->{cc}, $Config{ccflags}, $with{plain}, '-o', $program, $object{main});
    my @ending = ($Config{ldflags}, $self->{libs});
    return $self->_succeeds($self->{cc}, @with{qw(link flags)}, '-o', $library, @object{qw(outer inner)})
        && $self->_succeeds(@build_program, $library, @ending)
        && $self->_succeeds($program)
        && $self->_succeeds(@build_program, @object{qw(outer inner)}, @ending)
        && $self->_succeeds($program);
}

sub _succeeds {
    my ($self, @command) = @_;
    my $command = join ' ', grep { length } @command;
    my $printed = _output_of($command);
    return 1 if $? == 0;
    $self->{output} = "$command\n$printed";
    return 0;
}

# Compiles, links and runs source. Returns what it printed, or undef with the reason in
# $self->{output}.
sub run_program {
    my ($self, $source, $inc, $libs) = @_;
    my ($exe, $command) = $self->_build($source, $inc, '', "$Config{ldflags} $self->{libs} $libs")
        or return undef;
    local $ENV{LD_LIBRARY_PATH} = _run_path($ENV{LD_LIBRARY_PATH}, "$self->{libs} $libs");
    local $ENV{DYLD_LIBRARY_PATH} = _run_path($ENV{DYLD_LIBRARY_PATH}, "$self->{libs} $libs");
    my $printed = _output_of(_quoted($exe));
    return $printed if $? == 0;
    $self->{output} = "the program was built by\n$command\nbut ended with status " . ($? >> 8)
        . ($printed =~ /\S/ ? ":\n$printed" : " and said nothing\n");
    return undef;
}

# Compiles source, and links it unless stage is -c. Returns the file made and the command, or nothing
# with the reason in $self->{output}.
sub _build {
    my ($self, $source, $inc, $stage, $link_flags) = @_;
    my $dir  = File::Temp::tempdir(CLEANUP => 1);
    my $file = File::Spec->catfile($dir, 'probe.c');
    my $made = File::Spec->catfile($dir, "probe$Config{_exe}");

    open my $fh, '>', $file or die "Cannot write $file: $!";
    print {$fh} $source;
    close $fh or die "Cannot write $file: $!";

    my $command = join ' ', grep { length } $self->{cc}, $Config{ccflags}, $self->{inc}, $inc, $stage, '-o',
        _quoted($made), _quoted($file), $link_flags;
    my $printed = _output_of($command);
    return ($made, $command) if $? == 0;
    $self->{output} = "$command\n$printed";
    return;
}

# A temporary directory may have a space in its name.
sub _quoted {
    my $path = shift;
    $path =~ s/'/'\\''/g;
    return "'$path'";
}

# What a command prints on both handles; how it ended is in $?.
sub _output_of {
    my $command = shift;
    my $printed = `$command 2>&1`;
    return defined $printed ? $printed : "it could not be started: $!\n";
}

# Where the run-time linker must look for what -L found. MakeMaker sets LD_RUN_PATH for the real thing.
sub _run_path {
    my ($old, $libs) = @_;
    return join ':', ($libs =~ /-L(\S+)/g), (defined $old && length $old ? $old : ());
}

# Finds a library. Arguments: name; header; prefix_variable (environment); pkg (pkg-config's name);
# libs (-l flags); source (prints the version); prefixes (further places to look).
# Returns { inc, libs, version, from }, or undef with the last reason in $self->{output}.
# Prints the decision.
sub find_library {
    my ($self, %want) = @_;
    my @reasons;
    print "Looking for $want{name}: ";
    for my $place ($self->_places(%want)) {
        my ($from, $inc, $libs) = @$place;
        if ($from =~ /=(.*)/s && !-e "$1/include/$want{header}") {
            push @reasons, "from $from: there is no $1/include/$want{header}";
            next;
        }
        my $version = $self->run_program($want{source}, $inc, $libs);
        if (defined $version) {
            $version =~ s/\s+\z//;
            print "$version, from $from\n";
            return { inc => $inc, libs => $libs, version => $version, from => $from };
        }
        push @reasons, "from $from: $self->{output}";
    }
    print "not found\n";
    $self->{output} = join "\n", @reasons;
    return undef;
}

# The places to look, best first. What the user names is taken or nothing is: falling back silently
# would build against something else than was asked for.
sub _places {
    my ($self, %want) = @_;
    my $prefix = $ENV{ $want{prefix_variable} };
    if (defined $prefix && length $prefix) {
        return [ "$want{prefix_variable}=$prefix", _prefix_flags($prefix, $want{libs}) ];
    }
    my @places;
    push @places, [ 'INC and LIBS', '', $want{libs} ] if "$self->{inc}$self->{libs}" =~ /\S/;
    my $pkg = $self->_pkg_config($want{pkg});
    push @places, $pkg if $pkg;
    push @places, [ "the compiler's own places", '', $want{libs} ];
    push @places, map { [ $_, _prefix_flags($_, $want{libs}) ] } grep { -e "$_/include/$want{header}" }
        @{ $want{prefixes} || [] };
    return @places;
}

sub _prefix_flags {
    my ($prefix, $libs) = @_;
    my @dirs = grep { -d } map { "$prefix/$_" } qw(lib lib64);
    return ("-I$prefix/include", join ' ', (map { "-L$_" } @dirs), $libs);
}

sub _pkg_config {
    my ($self, $package) = @_;
    my $command = $ENV{PKG_CONFIG} || 'pkg-config';
    my $null    = File::Spec->devnull;
    my @flags;
    for my $what ('--cflags', '--libs') {
        my $answer = `$command $what $package 2>$null`;
        return undef if !defined $answer || $? != 0;
        $answer =~ s/\s+\z//;
        push @flags, $answer;
    }
    return [ 'pkg-config', @flags ];
}

1;
